/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmx/reason.h"

#define ROW(reason_name, exit_kind)                                                                \
    {                                                                                              \
        .name = (reason_name), .kind = (exit_kind)                                                 \
    }
#define ROW_LENGTH(reason_name, exit_kind)                                                         \
    {                                                                                              \
        .name = (reason_name), .kind = (exit_kind), .length = true                                 \
    }
#define ROW_DETAIL(reason_name, exit_kind)                                                         \
    {                                                                                              \
        .name = (reason_name), .kind = (exit_kind), .detail = true                                 \
    }
#define ROW_BOTH(reason_name, exit_kind)                                                           \
    {                                                                                              \
        .name = (reason_name), .kind = (exit_kind), .length = true, .detail = true                 \
    }

/* Every number has a row. Forbidden is what no model has, or what exits only when it is hidden. */
const struct reason_row reason_rows[REASONS] = {
    [0] = ROW_DETAIL("exception or NMI", EXIT_UNKNOWN),
    [1] = ROW("external interrupt", EXIT_UNKNOWN),
    [2] = ROW("triple fault", EXIT_TRIPLE_FAULT),
    [3] = ROW("INIT signal", EXIT_INIT),
    [4] = ROW_DETAIL("start-up IPI", EXIT_SIPI),
    [5] = ROW("I/O SMI", EXIT_UNKNOWN),
    [6] = ROW("other SMI", EXIT_UNKNOWN),
    [7] = ROW("interrupt window", EXIT_UNKNOWN),
    [8] = ROW_DETAIL("NMI window", EXIT_NMI_WINDOW),
    [9] = ROW("task switch", EXIT_TASK_SWITCH),
    [10] = ROW_LENGTH("CPUID", EXIT_CPUID),
    [11] = ROW("GETSEC", EXIT_FORBIDDEN),
    [12] = ROW("HLT", EXIT_UNKNOWN),
    [13] = ROW_BOTH("INVD", EXIT_UNKNOWN),
    [14] = ROW_BOTH("INVLPG", EXIT_INVLPG),
    [15] = ROW("RDPMC", EXIT_RDPMC),
    [16] = ROW("RDTSC", EXIT_FORBIDDEN),
    [17] = ROW("RSM", EXIT_FORBIDDEN),
    [18] = ROW_LENGTH("VMCALL", EXIT_HYPERCALL),
    [19] = ROW("VMCLEAR", EXIT_FORBIDDEN),
    [20] = ROW("VMLAUNCH", EXIT_FORBIDDEN),
    [21] = ROW("VMPTRLD", EXIT_FORBIDDEN),
    [22] = ROW("VMPTRST", EXIT_FORBIDDEN),
    [23] = ROW("VMREAD", EXIT_FORBIDDEN),
    [24] = ROW("VMRESUME", EXIT_FORBIDDEN),
    [25] = ROW("VMWRITE", EXIT_FORBIDDEN),
    [26] = ROW("VMXOFF", EXIT_FORBIDDEN),
    [27] = ROW("VMXON", EXIT_FORBIDDEN),
    [28] = ROW_BOTH("control-register access", EXIT_CR_WRITE),
    [29] = ROW("MOV DR", EXIT_UNKNOWN),
    [30] = ROW_BOTH("I/O instruction", EXIT_IO),
    [31] = ROW_LENGTH("RDMSR", EXIT_RDMSR),
    [32] = ROW_LENGTH("WRMSR", EXIT_WRMSR),
    [33] = ROW("invalid guest state", EXIT_BAD_STATE),
    [34] = ROW("MSR loading", EXIT_BAD_STATE),
    [35] = ROW("reason 35", EXIT_UNKNOWN),
    [36] = ROW("MWAIT", EXIT_FORBIDDEN),
    [37] = ROW_DETAIL("monitor trap flag", EXIT_UNKNOWN),
    [38] = ROW("reason 38", EXIT_UNKNOWN),
    [39] = ROW("MONITOR", EXIT_FORBIDDEN),
    [40] = ROW("PAUSE", EXIT_UNKNOWN),
    [41] = ROW("machine check at entry", EXIT_BAD_STATE),
    [42] = ROW("reason 42", EXIT_UNKNOWN),
    [43] = ROW("TPR below threshold", EXIT_UNKNOWN),
    [44] = ROW("APIC access", EXIT_UNKNOWN),
    [45] = ROW("virtualized EOI", EXIT_UNKNOWN),
    [46] = ROW("GDTR or IDTR access", EXIT_UNKNOWN),
    [47] = ROW("LDTR or TR access", EXIT_UNKNOWN),
    [48] = ROW_DETAIL("EPT violation", EXIT_MEMORY),
    [49] = ROW_DETAIL("EPT misconfiguration", EXIT_UNKNOWN),
    [50] = ROW("INVEPT", EXIT_FORBIDDEN),
    [51] = ROW("RDTSCP", EXIT_FORBIDDEN),
    [52] = ROW("preemption timer", EXIT_UNKNOWN),
    [53] = ROW("INVVPID", EXIT_FORBIDDEN),
    [54] = ROW("WBINVD or WBNOINVD", EXIT_UNKNOWN),
    [55] = ROW_LENGTH("XSETBV", EXIT_XSETBV),
    [56] = ROW("APIC write", EXIT_UNKNOWN),
    [57] = ROW("RDRAND", EXIT_FORBIDDEN),
    [58] = ROW_BOTH("INVPCID", EXIT_INVPCID),
    [59] = ROW("VMFUNC", EXIT_FORBIDDEN),
    [60] = ROW("ENCLS", EXIT_FORBIDDEN),
    [61] = ROW("RDSEED", EXIT_FORBIDDEN),
    [62] = ROW("page-modification log full", EXIT_UNKNOWN),
    [63] = ROW("XSAVES", EXIT_UNKNOWN),
    [64] = ROW("XRSTORS", EXIT_UNKNOWN),
    [65] = ROW("PCONFIG", EXIT_UNKNOWN),
    [66] = ROW("SPP miss or misconfiguration", EXIT_UNKNOWN),
    [67] = ROW("UMWAIT", EXIT_UNKNOWN),
    [68] = ROW("TPAUSE", EXIT_UNKNOWN),
    [69] = ROW("LOADIWKEY", EXIT_UNKNOWN),
    [70] = ROW("ENCLV", EXIT_UNKNOWN),
    [71] = ROW("reason 71", EXIT_UNKNOWN),
    [72] = ROW("ENQCMD PASID translation", EXIT_UNKNOWN),
    [73] = ROW("ENQCMDS PASID translation", EXIT_UNKNOWN),
    [74] = ROW("bus lock", EXIT_UNKNOWN),
    [75] = ROW("instruction time-out", EXIT_UNKNOWN),
    [76] = ROW("SEAMCALL", EXIT_FORBIDDEN),
    [77] = ROW("TDCALL", EXIT_FORBIDDEN),
};

const char *reason_name(uint32_t reason)
{
    uint32_t basic = reason & 0xffffU;
    return basic < REASONS ? reason_rows[basic].name : "reason beyond 77";
}

const char *instruction_error_name(uint32_t error)
{
    static const char *const names[] = {
        [0] = "no error",
        [1] = "VMCALL in VMX root operation",
        [2] = "VMCLEAR with an invalid address",
        [3] = "VMCLEAR with the VMXON pointer",
        [4] = "VMLAUNCH with a VMCS that is not clear",
        [5] = "VMRESUME with a VMCS that is not launched",
        [6] = "VMRESUME after VMXOFF and VMXON",
        [7] = "VM entry with invalid control fields",
        [8] = "VM entry with invalid host-state fields",
        [9] = "VMPTRLD with an invalid address",
        [10] = "VMPTRLD with the VMXON pointer",
        [11] = "VMPTRLD with another revision identifier",
        [12] = "VMREAD or VMWRITE of a field that does not exist",
        [13] = "VMWRITE to a read-only field",
        [15] = "VMXON in VMX root operation",
        [16] = "VM entry with an invalid executive-VMCS pointer",
        [17] = "VM entry with an executive VMCS that is not launched",
        [18] = "VM entry with an executive-VMCS pointer that is not the VMXON pointer",
        [19] = "VMCALL with a VMCS that is not clear",
        [20] = "VMCALL with invalid VM-exit control fields",
        [22] = "VMCALL with an incorrect MSEG revision identifier",
        [23] = "VMXOFF under dual-monitor treatment",
        [24] = "VMCALL with invalid SMM-monitor features",
        [25] = "VM entry with invalid execution controls in the executive VMCS",
        [26] = "VM entry with events blocked by MOV SS",
        [28] = "INVEPT or INVVPID with an invalid operand",
    };
    if (error < sizeof(names) / sizeof(names[0]) && names[error])
        return names[error];
    return "an error without a name";
}
