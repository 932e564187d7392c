/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef LATCH_TESTS_FAKE_SGX_H
#define LATCH_TESTS_FAKE_SGX_H

/* In the test image a guest's access to this MSR, which no CPU has, is a machine check instead. */
#define FAKE_MSR_MACHINE_CHECK 0x4d434845U

#endif
