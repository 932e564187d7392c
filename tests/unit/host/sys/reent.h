/* SPDX-License-Identifier: BSD-2-Clause */
/* In the place of newlib's, for kernel/cpu.h on the host: no test uses it. */
#ifndef LATCH_TESTS_UNIT_HOST_SYS_REENT_H
#define LATCH_TESTS_UNIT_HOST_SYS_REENT_H

struct _reent {
    int unused;
};

#endif
