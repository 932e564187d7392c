/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_KERNEL_NARROW_H
#define LATCH_KERNEL_NARROW_H
/*
 * PAGED_NARROW (paging.h): what the model's limit makes of a fault that the hardware found by its
 * own. And what that shares with PAGED_SHADOW.
 */
#include "kernel/exit.h"
#include "kernel/vcpu.h"
#include "mmu/role.h"

/* A #PF that got through the filter, or the answer to backend_probe(). */
enum exit_action narrow_page_fault(struct vcpu *v, struct exit *exit);
/* An EXIT_MEMORY with a linear address, at or above the model's limit or the nested tables' reach. False
 * if the guest's tables do lead there and the model has nothing against it: no memory is there. */
bool narrow_beyond_limit(struct vcpu *v, struct exit *exit, enum exit_action *action);

/* ---- paging.c ---- */

/* PKRU and IA32_PKRS, as far as the guest's CR4 uses them. */
void paging_read_keys(struct vcpu *v, struct paging_state *state);
/* The access (enum access, WALK_IMPLICIT) that a #PF with this error code was raised for. */
unsigned int paging_access(struct vcpu *v, uint32_t error_code);
/* Deliver a #PF: fills exit->event, returns EXIT_FAULT. */
enum exit_action paging_raise(struct exit *exit, gla_t address, uint32_t error_code);

#endif
