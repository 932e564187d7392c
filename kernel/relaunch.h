/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_RELAUNCH_H
#define LATCH_KERNEL_RELAUNCH_H
/*
 * The guest's next generation, in the same VM: the models of that generation are sealed, the guest's
 * memory, devices and registers are as they were at launch, and nothing of the VM, of its vCPUs and
 * of the page pool is freed and made again.
 *
 * The vCPU whose guest reset the machine stops the others. Each comes to relaunch_join() on its own
 * CPU; the boot vCPU's does what is common while the others wait there, then each its own part; and
 * when all have done that, the boot vCPU enters the guest, and the others wait for their SIPI.
 */
#include "kernel/exit.h"
#include "kernel/multiboot2.h"

struct vcpu;
struct vcpu_state;

/* Remember how things are, with on-reset=relaunch: once, when the guest's tables and vCPUs are
 * there, before anything of the guest is loaded. `info` stays the caller's, and constant. */
int relaunch_prepare(const struct boot_info *info, struct refusal *why);

/* From an exit of `v`: begin it. EXIT_STOP, also if another vCPU has begun an end before. */
enum exit_action relaunch_begin(struct vcpu *v, const char *reason);

/* This vCPU's run has ended. True: it is ready for the next generation; false: there is none. */
bool relaunch_join(struct vcpu *v);

#endif
