/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE
#include "report.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum result say(enum result result, const char *format, ...)
{
    static const char *const words[] = {"ok", "skip", "error", "FAIL"};
    va_list arguments;

    va_start(arguments, format);
    printf("report: %s ", words[result]);
    vprintf(format, arguments);
    printf("\n");
    fflush(stdout);
    va_end(arguments);
    return result;
}

enum result worse(enum result a, enum result b)
{
    return a > b ? a : b;
}

/* The value behind `key` on the kernel's command line: "" if it has none, NULL if it is not there. */
const char *argument(const char *key)
{
    static char line[4096];
    static char value[1024];
    FILE *file = fopen("/proc/cmdline", "r");
    size_t length = strlen(key);

    if (!file)
        return NULL;
    if (!fgets(line, sizeof(line), file))
        line[0] = '\0';
    fclose(file);
    for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
        if (strncmp(word, key, length) != 0 || (word[length] != '=' && word[length] != '\0'))
            continue;
        snprintf(value, sizeof(value), "%s", word[length] == '=' ? word + length + 1 : "");
        return value;
    }
    return NULL;
}

int run_on(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set);
}

int online_cpus(void)
{
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

enum result check_cpus(void)
{
    int online = online_cpus();
    const char *text = argument("expect.cpus");
    int expected = text ? atoi(text) : online;

    for (int cpu = 0; cpu < online; cpu++) {
        if (run_on(cpu) || sched_getcpu() != cpu)
            return say(FAILURE, "cpus: CPU %d does not run: %s", cpu, strerror(errno));
    }
    return say(online == expected ? SUCCESS : FAILURE, "cpus %d of %d", online, expected);
}

/* The count of local timer interrupts on a CPU, or -1. */
static long timer_interrupts(int cpu)
{
    char line[4096];
    long count = -1;
    FILE *file = fopen("/proc/interrupts", "r");

    if (!file)
        return -1;
    while (fgets(line, sizeof(line), file)) {
        char *at = strstr(line, "LOC:");

        if (!at)
            continue;
        at += strlen("LOC:");
        for (int i = 0; i <= cpu; i++)
            count = strtol(at, &at, 10);
        break;
    }
    fclose(file);
    return count;
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

enum result check_timer(void)
{
    enum { SLEEPS = 10 };
    const struct timespec nap = {.tv_nsec = 10000000};
    enum result result = SUCCESS;

    for (int cpu = 0; cpu < online_cpus(); cpu++) {
        run_on(cpu);
        long before = timer_interrupts(cpu);
        double start = seconds_now();
        for (int i = 0; i < SLEEPS; i++)
            nanosleep(&nap, NULL);
        double took = seconds_now() - start;
        long ticks = timer_interrupts(cpu) - before;

        /* Never too short; too long only where the timer is lost, not where an emulator is slow. */
        if (before < 0)
            result = worse(result, say(ERROR, "timer: no LOC line in /proc/interrupts"));
        else
            result =
                worse(result, say(took >= 0.1 && took < 5.0 && ticks >= SLEEPS ? SUCCESS : FAILURE,
                                  "timer on CPU %d: 100 ms of sleep took %.0f ms, %ld ticks", cpu,
                                  took * 1e3, ticks));
    }
    return result;
}

/* Free memory in bytes, less what the rest of the guest may need meanwhile. */
static size_t memory_to_test(void)
{
    const size_t reserve = 32UL << 20;
    const char *text = argument("report.mem");
    char line[256];
    size_t available = 0;
    FILE *file = fopen("/proc/meminfo", "r");

    if (text)
        available = reserve + (strtoul(text, NULL, 10) << 20);
    while (file && !available && fgets(line, sizeof(line), file)) {
        unsigned long kib;

        if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
            available = kib * 1024;
    }
    if (file)
        fclose(file);
    return available > reserve ? (available - reserve) & ~((2UL << 20) - 1) : 0;
}

/* No two words of the test hold the same value, so a page that shows up twice is found. */
static uint64_t pattern(size_t word)
{
    return (word + 1) * 0x9e3779b97f4a7c15;
}

enum result check_memory(void)
{
    /* One word near the start and one near the end of each page. */
    const size_t page_words = 4096 / sizeof(uint64_t);
    const size_t offsets[] = {1, page_words - 1};
    size_t size = memory_to_test();
    size_t words = size / sizeof(uint64_t);
    volatile uint64_t *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return say(ERROR, "memory: %zu MiB: %s", size >> 20, strerror(errno));
    madvise((void *)memory, size, MADV_HUGEPAGE);
    run_on(0);
    for (size_t page = 0; page < words; page += page_words)
        for (size_t i = 0; i < 2; i++)
            memory[page + offsets[i]] = pattern(page + offsets[i]);
    run_on(online_cpus() - 1);
    for (size_t page = 0; page < words; page += page_words) {
        for (size_t i = 0; i < 2; i++) {
            uint64_t found = memory[page + offsets[i]];

            if (found != pattern(page + offsets[i]))
                return say(FAILURE, "memory at offset 0x%zx: wrote 0x%016lx, read 0x%016lx",
                           (page + offsets[i]) * sizeof(uint64_t), pattern(page + offsets[i]),
                           found);
        }
    }
    munmap((void *)memory, size);
    return say(SUCCESS, "memory %zu MiB", size >> 20);
}

int main(void)
{
    static const char *const verdicts[] = {"SUCCESS", "SKIP", "ERROR", "FAILURE"};
    enum result result = check_cpus();

    result = worse(result, check_cpuid());
    result = worse(result, check_timer());
    result = worse(result, check_memory());
    printf("Test result: %s%s\n", verdicts[result], argument("latch.inexact") ? ", inexact" : "");
    return (int)result;
}
