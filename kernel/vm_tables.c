/* SPDX-License-Identifier: BSD-2-Clause */
/* What is said of the VM's table pages. */
#include "kernel/console.h"
#include "kernel/vm.h"
#include <stdio.h>

#define MODELS_TEXT 400U

/* The vCPU by which a model is named: the first one that has it. */
static unsigned int first_alike(unsigned int i)
{
    unsigned int first = 0;
    while (vm.vcpu[first]->model != vm.vcpu[i]->model)
        first++;
    return first;
}

/* By each model, how many pages its vCPUs reach. */
static void describe(char text[MODELS_TEXT], const unsigned int pages[CPUS_MAX])
{
    int used = 0;
    text[0] = '\0';
    for (unsigned int i = 0; i < vm.vcpu_count && (unsigned int)used < MODELS_TEXT; i++) {
        if (first_alike(i) == i)
            used += snprintf(text + used, MODELS_TEXT - (size_t)used, ", vcpu %u: %u", i, pages[i]);
    }
}

static unsigned int count_nested(const struct vcpu *v, unsigned int model)
{
    unsigned int reached = direct_count_root(&vm.direct, v->root, model);
    if (v->paging == PAGED_SHADOW)
        reached += direct_count_root(&vm.direct, v->shadow_root, model);
    return reached;
}

static unsigned int count_shadow(const struct vcpu *v, unsigned int model)
{
    return v->paging == PAGED_SHADOW ? shadow_count_cpu(&vm.shadow, v->shadow, model) : 0;
}

/* One model's vCPUs after the other's, as a page knows only by which it was counted last. */
static void count_models(unsigned int pages[CPUS_MAX],
                         unsigned int (*count)(const struct vcpu *v, unsigned int model))
{
    for (unsigned int model = 0; model < vm.vcpu_count; model++)
        for (unsigned int i = model; i < vm.vcpu_count; i++)
            if (first_alike(i) == model)
                pages[model] += count(vm.vcpu[i], model + 1);
}

static void print_nested(void)
{
    char text[MODELS_TEXT];
    struct direct_stats stats;
    unsigned int pages[CPUS_MAX] = {0};
    direct_count_begin(&vm.direct);
    count_models(pages, count_nested);
    direct_count(&vm.direct, &stats);
    describe(text, pages);
    console_line("tables: %s: %u pages in all, %u shared%s", format_name(vm.direct.format.id),
                 stats.pages, stats.shared, text);
    if (vm.direct.rebuilds != 0)
        console_line("tables: %s: dropped %u times to make room: set pool= to more MiB",
                     format_name(vm.direct.format.id), vm.direct.rebuilds);
}

static void print_shadow(void)
{
    char text[MODELS_TEXT];
    struct shadow_stats stats;
    unsigned int pages[CPUS_MAX] = {0};
    shadow_count_begin(&vm.shadow);
    count_models(pages, count_shadow);
    shadow_count(&vm.shadow, &stats);
    describe(text, pages);
    console_line("tables: shadow: %u pages of %u in all, %u shared%s", stats.pages, stats.capacity,
                 stats.shared, text);
    if (stats.fills == 0)
        return; /* at launch */
    console_line("tables: shadow: %u pages at most, %u tracked, %u unsynced, %lu fills, "
                 "%lu evictions",
                 stats.peak, stats.tracked, stats.unsynced, stats.fills, stats.evictions);
}

void vm_print_tables(void)
{
    print_nested();
    if (vm.shadow.count != 0)
        print_shadow();
}
