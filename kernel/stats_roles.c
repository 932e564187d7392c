/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/stats_roles.h"
#include "kernel/console.h"
#include "kernel/vm.h"
#include <stdarg.h>
#include <stdio.h>

#define ROLES_MAX 64U
#define LEVELS    5U
#define ROLE_TEXT 160U

static struct {
    union page_role role;
    unsigned int pages;
} found[ROLES_MAX];
static unsigned int found_count, uncounted;

static void count(union page_role role)
{
    unsigned int i = 0;
    while (i < found_count && !role_equal(found[i].role, role))
        i++;
    if (i == ROLES_MAX) {
        uncounted++;
        return;
    }
    if (i == found_count) {
        found[i].role = role;
        found[i].pages = 0;
        found_count++;
    }
    found[i].pages++;
}

static void count_all(void)
{
    found_count = uncounted = 0;
    for (unsigned int i = 0; i < CACHE_BUCKETS; i++) {
        for (const struct table_page *page = vm.cache.bucket[i]; page != NULL; page = page->next)
            count(page->role);
    }
    for (unsigned int i = 0; i < vm.shadow.fresh; i++) {
        if (vm.shadow.pages[i].live)
            count(vm.shadow.pages[i].role);
    }
}

struct text {
    char text[ROLE_TEXT];
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
    va_list arguments;
    if (t->used >= sizeof(t->text))
        return;
    va_start(arguments, format);
    t->used += (size_t)vsnprintf(t->text + t->used, sizeof(t->text) - t->used, format, arguments);
    va_end(arguments);
}

static void add_if(struct text *t, bool set, const char *word)
{
    if (set)
        add(t, " %s", word);
}

static void add_registers(struct text *t, union page_role role)
{
    static const char *const modes[] = {
        [MODE_32BIT] = "32-bit",   [MODE_32BIT_PSE] = "32-bit-PSE", [MODE_PAE] = "PAE",
        [MODE_4LEVEL] = "4-level", [MODE_5LEVEL] = "5-level",
    };
    if (role.mode < sizeof(modes) / sizeof(modes[0]) && modes[role.mode] != NULL)
        add(t, " of %s", modes[role.mode]);
    add_if(t, role.nxe, "NXE");
}

static void add_model(struct text *t, union page_role role)
{
    if (role.maxphyaddr != 0)
        add(t, " MAXPHYADDR %u", (unsigned int)role.maxphyaddr);
    add_if(t, role.gbpages, "GBPAGES");
    add_if(t, role.vendor == ROLE_VENDOR_INTEL, "Intel");
    add_if(t, role.vendor == ROLE_VENDOR_AMD, "AMD");
    if (role.cbit != 0)
        add(t, " C-bit %u", (unsigned int)role.cbit);
    add_if(t, role.pse36, "PSE36");
    add_if(t, role.pat, "PAT");
}

static void add_access(struct text *t, union page_role role)
{
    static const char letters[] = "rwxu";
    char access[sizeof(letters)] = "";
    for (unsigned int i = 0; i < sizeof(letters) - 1; i++)
        access[i] = role.access >> i & 1 ? letters[i] : '-';
    add(t, " access %s", access);
    if (role.quadrant != 0)
        add(t, " quadrant %u", (unsigned int)role.quadrant);
}

/* The shadow formats' names say that they are shadows. */
static void describe(union page_role role, struct text *t)
{
    t->used = 0;
    add(t, "%s level %u", format_name((enum page_format)role.format), (unsigned int)role.level);
    add_if(t, role.direct, "direct");
    add_if(t, role.tables, "with-shadow-pages");
    add_registers(t, role);
    add_model(t, role);
    if (!role.direct)
        add_access(t, role);
    if (role.leaf_cache != 0 || role.leaf_global || role.leaf_key != 0)
        add(t, " leaf cache %u global %u key %u", (unsigned int)role.leaf_cache,
            (unsigned int)role.leaf_global, (unsigned int)role.leaf_key);
}

static void print_level(unsigned int level)
{
    struct text role;
    for (unsigned int i = 0; i < found_count; i++) {
        if (found[i].role.level != level)
            continue;
        describe(found[i].role, &role);
        console_line("stats: tables %s: %u", role.text, found[i].pages);
    }
}

void stats_print_roles(void)
{
    unsigned int pdptes = 0;
    count_all();
    for (unsigned int i = 0; i < vm.vcpu_count; i++)
        pdptes += vm.vcpu[i]->shadow != NULL && vm.vcpu[i]->shadow->pae_root != NULL;
    for (unsigned int level = LEVELS; level > 0; level--)
        print_level(level);
    if (pdptes != 0)
        console_line("stats: tables shadow (PAE) of the vCPUs' own PDPTEs: %u", pdptes);
    if (uncounted != 0)
        console_line("stats: tables of other roles: %u", uncounted);
}
