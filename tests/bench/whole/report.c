/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/bench/whole/whole.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <x86intrin.h>

int await(int child)
{
    int status;
    if (waitpid(child, &status, 0) < 0 || !WIFEXITED(status))
        return 1;
    return WEXITSTATUS(status);
}

/* The value of "key=value" among the words of a line, "" for a word without a value, or NULL. */
static const char *word(const char *line, const char *key)
{
    static char value[64];
    size_t length = strlen(key);
    for (const char *at = line; (at = strstr(at, key)); at += length) {
        if ((at == line || at[-1] == ' ') && strchr("= \n", at[length])) {
            (void)snprintf(value, sizeof(value), "%s", at + length + (at[length] == '='));
            value[strcspn(value, " \n")] = '\0';
            return value;
        }
    }
    return NULL;
}

static unsigned int number(const char *line, const char *key, unsigned int otherwise)
{
    const char *value = word(line, key);
    return value ? (unsigned int)strtoul(value, NULL, 10) : otherwise;
}

/* How long the boot CPU has idled, in ns, by the kernel's own account. */
static unsigned long idle_time(void)
{
    char line[256];
    unsigned long found = 0;
    FILE *file = fopen("/proc/timer_list", "r");
    while (file && found == 0 && fgets(line, sizeof(line), file))
        (void)sscanf(line, " .idle_sleeptime : %lu", &found);
    if (file)
        (void)fclose(file);
    return found;
}

/* What the kernel makes use of, for a comparison. */
static void say_flags(void)
{
    static char line[8192];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, "flags", strlen("flags")) == 0) {
            printf("bench: flags%s", strchr(line, ':') + 1);
            break;
        }
    }
    if (file)
        (void)fclose(file);
    (void)fflush(stdout);
    (void)tcdrain(STDOUT_FILENO);
}

/* The default guest's report: what is behind it begins when it has ended. */
static int report(void)
{
    int child = fork();
    if (child == 0) {
        execl("/bin/report-itself", "report", (char *)NULL);
        _exit(127);
    }
    int status = await(child);
    unsigned long now = __rdtsc();
    printf("bench: verdict at %lu, idle for %lu ns\n", now, idle_time());
    say_flags();
    return status;
}

int main(void)
{
    char line[4096] = "", load[64];
    FILE *file = fopen("/proc/cmdline", "r");
    if (!file || !fgets(line, sizeof(line), file))
        return 2;
    (void)fclose(file);
    const char *value = word(line, "bench.load");
    if (value == NULL && word(line, "bench.rows") == NULL)
        return report();
    (void)snprintf(load, sizeof(load), "%s", value ? value : "");
    load[strcspn(load, "_")] = '\0'; /* padding */
    int status = value ? run_load(load, number(line, "bench.seconds", 1))
                       : measure_rows(number(line, "rounds", 1000));
    printf("Test result: %s\n", status ? "ERROR" : "SUCCESS");
    return status ? 2 : 0;
}
