/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/bench/whole/whole.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE   4096UL
#define WINDOW (256 * PAGE)

/* One time round; 0 if all went well. */
typedef int load_fn(void);

static int idle(void)
{
    return sleep(1) == 0 ? 0 : 1;
}

static int fork_process(void)
{
    int child = fork();
    if (child == 0)
        _exit(0);
    return await(child);
}

/* A program of busybox, whose C library executes CPUID as each one does when it starts. */
static int exec_process(void)
{
    int child = fork();
    if (child == 0) {
        execl("/bin/busybox", "true", (char *)NULL);
        _exit(127);
    }
    return await(child);
}

/* Maps, writes, protects, writes by a copy, and unmaps. */
static int memory(void)
{
    char *window = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (window == MAP_FAILED)
        return 1;
    for (unsigned long at = 0; at < WINDOW; at += PAGE)
        window[at] = 1;
    int status = mprotect(window, WINDOW, PROT_READ);
    status |= mprotect(window, WINDOW, PROT_READ | PROT_WRITE);
    int child = fork();
    if (child == 0) {
        for (unsigned long at = 0; at < WINDOW; at += PAGE)
            window[at] = 2;
        _exit(0);
    }
    status |= await(child);
    return munmap(window, WINDOW) | status;
}

/* A short sleep: an interrupt of the timer, and most often HLT before it. */
static int timer(void)
{
    const struct timespec nap = {.tv_nsec = 200000};
    return nanosleep(&nap, NULL) == 0 ? 0 : 1;
}

static const struct {
    const char *name;
    load_fn *run;
} loads[] = {
    {"idle", idle},     {"fork", fork_process}, {"exec", exec_process},
    {"memory", memory}, {"timer", timer},
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int run_here(const char *name, load_fn *load, int cpu, unsigned int seconds)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        return 1;
    unsigned long rounds = 0;
    double start = now();
    while (now() - start < seconds) {
        if (load() != 0)
            return 1;
        rounds++;
    }
    printf("bench: load %s on CPU %d: %lu rounds in %.3f s\n", name, cpu, rounds, now() - start);
    return 0;
}

int run_load(const char *name, unsigned int seconds)
{
    int status = 0, children = 0;
    load_fn *load = NULL;
    for (unsigned int i = 0; i < sizeof(loads) / sizeof(loads[0]); i++)
        if (strcmp(loads[i].name, name) == 0)
            load = loads[i].run;
    if (load == NULL)
        return 1;
    for (int cpu = 0; cpu < (int)sysconf(_SC_NPROCESSORS_ONLN); cpu++) {
        int child = fork();
        if (child == 0) {
            status = run_here(name, load, cpu, seconds);
            (void)fflush(stdout);
            _exit(status);
        }
        children++;
    }
    while (children-- > 0)
        status |= await(-1);
    return status;
}
