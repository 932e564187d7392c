/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_UNIT_TLB_SITES_H
#define LATCH_TESTS_UNIT_TLB_SITES_H
/*
 * The places in mmu/ that flush: which there are, by its text, and which have run, each by file and
 * line. One of them can be left out.
 */
#include <glob.h>
#include <sanitizer/common_interface_defs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SITES_MAX 32U

/* A call that was inlined twice is two places of one name. */
struct site {
    const void *key;
    char place[128]; /* file and line, the file perhaps with a path before it */
};

static struct {
    struct site site[SITES_MAX]; /* that have run, over all machines */
    unsigned int count;
    const void *without; /* the one that does nothing */
    bool showing;        /* a frame in a slot of a window */
    bool asked;          /* for a flush with the next entry */
} sites;

static inline const char *site_name(const struct site *site)
{
    const char *name = strstr(site->place, "mmu/");

    return name ? name : site->place;
}

static inline bool is_known(const void *key)
{
    for (unsigned int i = 0; i < sites.count; i++)
        if (sites.site[i].key == key)
            return true;
    return false;
}

static inline struct site *new_site(const void *key)
{
    if (sites.count == SITES_MAX)
        abort();
    sites.site[sites.count].key = key;
    return &sites.site[sites.count++];
}

/* Take note of the call that returns to this address; false: it is to be left out. */
static inline bool call_flushes(const void *returns_to)
{
    if (!is_known(returns_to)) {
        struct site *site = new_site(returns_to);

        __sanitizer_symbolize_pc((char *)returns_to - 1, "%s:%l", site->place, sizeof(site->place));
    }
    return returns_to != sites.without;
}

/* The same of a place that knows its name. */
static inline bool place_flushes(const char *place)
{
    if (!is_known(place))
        (void)snprintf(new_site(place)->place, sizeof(sites.site[0].place), "%s", place);
    return place != sites.without;
}

static inline bool has_run(const char *name)
{
    for (unsigned int i = 0; i < sites.count; i++)
        if (strcmp(site_name(&sites.site[i]), name) == 0)
            return true;
    printf("# %s has never run\n", name);
    return false;
}

/* How many lines of a file say `what`, comments left aside; SITES_MAX more if one has not run. */
static inline unsigned int lines_that_say(const char *path, const char *what)
{
    unsigned int count = 0, number = 0;
    char line[256], name[128];
    FILE *f = fopen(path, "r");

    while (f && fgets(line, sizeof(line), f)) {
        number++;
        if (!strstr(line, what) || strncmp(line + strspn(line, " /"), "*", 1) == 0)
            continue;
        (void)snprintf(name, sizeof(name), "%s:%u", path, number);
        count += has_run(name) ? 1U : 1U + SITES_MAX;
    }
    if (f)
        (void)fclose(f);
    return count;
}

/* Whether each place in the files of a pattern that says `what` has run; and there are so many. */
static inline bool all_have_run(const char *pattern, const char *what, unsigned int at_least)
{
    unsigned int count = 0;
    glob_t files;

    if (glob(pattern, 0, NULL, &files) != 0) {
        printf("# no %s: run from the repository's top\n", pattern);
        return false;
    }
    for (size_t i = 0; i < files.gl_pathc; i++)
        count += lines_that_say(files.gl_pathv[i], what);
    globfree(&files);
    return count >= at_least && count < SITES_MAX;
}

#endif
