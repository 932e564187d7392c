/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/port.h"
#include "kernel/acpi.h"
#include "kernel/backend.h"
#include "kernel/vm.h"
#include "kernel/x86.h"

#define SLP_EN      (1U << 13)
#define PCI_ADDRESS 0xcf8U
#define COM1        0x3f8U
#define PCI_PORTS   0xd00U

#define KEYBOARD_DATA    0x60U
#define KEYBOARD_COMMAND 0x64U
#define SYSTEM_CONTROL   0x92U
#define RESET_CONTROL    0xcf9U
#define RESET_CPU        (1U << 2)
#define FAST_RESET       1U
#define PULSE_MASK       0xf1U /* a pulse of bit 0, the reset line, and any others */
#define PULSE_RESET      0xf0U
#define WRITE_OUTPUT     0xd1U
#define OUTPUT_NO_RESET  1U

enum port_action {
    PORT_PASS,
    PORT_DENY,
    PORT_PM1A,
    PORT_ACPI_RESET,
    PORT_RESET_CONTROL,    /* CF9H: bit 2 resets */
    PORT_SYSTEM_CONTROL,   /* 92H: bit 0 resets */
    PORT_KEYBOARD_COMMAND, /* 64H: FnH pulses the reset line, D1H announces the next write to 60H */
    PORT_KEYBOARD_OUTPUT,  /* 60H, trapped after D1H only: bit 0 clear resets */
};

struct port_rule {
    uint16_t first, last;
    enum port_action action;
    const char *reason;
};

#define RULE(from, to, does, why)                                                                  \
    {                                                                                              \
        .first = (from), .last = (to), .action = (does), .reason = (why)                           \
    }

/*
 * The first line that holds a port decides; a port in none is denied. The first lines are filled in
 * from the configuration and the FADT, and name no port where there is none.
 */
static struct port_rule rules[] = {
    RULE(1, 0, PORT_DENY, "Latch's console"),
    RULE(1, 0, PORT_PM1A, "powers the machine off, or sends it to sleep"),
    RULE(1, 0, PORT_KEYBOARD_OUTPUT, "resets the machine"),
    RULE(1, 0, PORT_RESET_CONTROL, "resets the machine; PCI's address register is around it"),
    RULE(KEYBOARD_COMMAND, KEYBOARD_COMMAND, PORT_KEYBOARD_COMMAND, "resets the machine"),
    RULE(SYSTEM_CONTROL, SYSTEM_CONTROL, PORT_SYSTEM_CONTROL, "resets the machine; A20 gate"),
    RULE(1, 0, PORT_ACPI_RESET, "resets the machine; the lines above know of more values"),
    RULE(0x5658, 0x5659, PORT_DENY, "VMware's backdoor: the model is no VMware guest"),
    RULE(0x0000, 0x000f, PORT_PASS, "DMA controller"),
    RULE(0x0020, 0x0021, PORT_PASS, "interrupt controller"),
    RULE(0x0022, 0x0023, PORT_PASS, "IMCR: PIC or APIC mode"),
    RULE(0x0040, 0x0043, PORT_PASS, "timer"),
    RULE(0x0060, 0x0063, PORT_PASS, "keyboard controller, timer gate"),
    RULE(0x0070, 0x0073, PORT_PASS, "real-time clock"),
    RULE(0x0080, 0x008f, PORT_PASS, "DMA pages, POST code"),
    RULE(0x00a0, 0x00a1, PORT_PASS, "interrupt controller"),
    RULE(0x00b2, 0x00b3, PORT_PASS, "SMI command: a guest turns ACPI on by it"),
    RULE(0x00c0, 0x00df, PORT_PASS, "DMA controller"),
    RULE(0x00e9, 0x00e9, PORT_PASS, "emulators' debug console"),
    RULE(0x00ed, 0x00ed, PORT_PASS, "I/O delay"),
    RULE(0x00f0, 0x00f1, PORT_PASS, "FPU error"),
    RULE(0x00f4, 0x00f7, PORT_PASS, "emulators' debug exit"),
    RULE(0x0170, 0x0177, PORT_PASS, "IDE"),
    RULE(0x01f0, 0x01f7, PORT_PASS, "IDE"),
    RULE(0x0278, 0x027f, PORT_PASS, "parallel port"),
    RULE(0x02e8, 0x02ef, PORT_PASS, "COM4"),
    RULE(0x02f8, 0x02ff, PORT_PASS, "COM2"),
    RULE(0x0370, 0x037f, PORT_PASS, "IDE, floppy, parallel port"),
    RULE(0x03b0, 0x03df, PORT_PASS, "VGA"),
    RULE(0x03e8, 0x03ef, PORT_PASS, "COM3"),
    RULE(0x03f0, 0x03f7, PORT_PASS, "IDE, floppy"),
    RULE(0x03f8, 0x03ff, PORT_PASS, "COM1"),
    RULE(0x0400, 0x0cf7, PORT_PASS, "chipset: power management, SMBus, GPIO"),
    RULE(0x0cf8, 0x0cff, PORT_PASS, "PCI configuration"),
    RULE(0x0d00, 0xffff, PORT_PASS, "PCI devices"),
};
#define RULES (sizeof(rules) / sizeof(rules[0]))
enum {
    RULE_CONSOLE,
    RULE_PM1A,
    RULE_KEYBOARD_OUTPUT,
    RULE_RESET_CONTROL,
    RULE_KEYBOARD_COMMAND,
    RULE_SYSTEM_CONTROL,
    RULE_ACPI_RESET,
};

static void fill(unsigned int rule, uint64_t port, uint16_t size)
{
    if (port != 0 && port + size <= UINT16_MAX) {
        rules[rule].first = (uint16_t)port;
        rules[rule].last = (uint16_t)(port + size - 1);
    }
}

/* For each port below PCI devices', where most of those are that exit, its rule's number and 1. */
static uint8_t rule_of[PCI_PORTS];
_Static_assert(RULES < UINT8_MAX, "a rule's number fits");

static unsigned int search(unsigned int port)
{
    for (unsigned int i = 0; i < RULES; i++) {
        if (port >= rules[i].first && port <= rules[i].last)
            return i + 1;
    }
    return 0;
}

static const struct port_rule *find(unsigned int port)
{
    const unsigned int number = port < PCI_PORTS ? rule_of[port] : search(port);
    return number != 0 ? &rules[number - 1] : NULL;
}

void port_trap_all(void)
{
    if (vm.config->console != COM1)
        fill(RULE_CONSOLE, vm.config->console, 8);
    if (vm.acpi->pm1a_control.space == ACPI_SPACE_IO)
        fill(RULE_PM1A, vm.acpi->pm1a_control.address, 2);
    if (vm.acpi->reset_supported && vm.acpi->reset.space == ACPI_SPACE_IO &&
        (vm.acpi->reset.address & ~7UL) != PCI_ADDRESS)
        fill(RULE_ACPI_RESET, vm.acpi->reset.address, 1);
    /* It lies within PCI's address register, so that each of PCI's accesses exits: only where a reset
     * is not simply the hardware's, which with on-reset=reset comes to the same but for Latch's own
     * last lines. */
    if (vm.config->on_reset != ON_RESET_RESET)
        fill(RULE_RESET_CONTROL, RESET_CONTROL, 1);
    /* From the last line to the first, which decides. Above them PCI devices' ports begin, where the
     * few others are lines of their own. */
    for (unsigned int port = 0; port < PCI_PORTS; port++)
        backend_trap_port((uint16_t)port, true);
    for (unsigned int i = RULES; i-- > 0;) {
        const bool trap = rules[i].action != PORT_PASS;
        for (unsigned int port = rules[i].first;
             port <= rules[i].last && (trap || port < PCI_PORTS); port++) {
            backend_trap_port((uint16_t)port, trap);
            if (port < PCI_PORTS)
                rule_of[port] = (uint8_t)(i + 1);
        }
    }
}

static uint32_t port_in(uint16_t port, uint8_t size)
{
    return size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
}

static void port_out(uint16_t port, uint8_t size, uint32_t value)
{
    if (size == 1)
        outb(port, (uint8_t)value);
    else if (size == 2)
        outw(port, (uint16_t)value);
    else
        outl(port, value);
}

/* The upper byte of PM1a control if the access reaches it, which has all that matters here. */
static uint32_t sleep_control(const struct port_rule *rule, uint16_t port, uint8_t size,
                              uint32_t value)
{
    unsigned int byte = rule->last - (unsigned int)port;
    return rule->last >= port && byte < size ? (value >> 8 * byte & 0xff) << 8 : 0;
}

/* From any state but S5 the firmware may wake the guest up without Latch below it. */
static enum exit_action enter_sleep(struct vcpu *v, const struct exit *exit, uint32_t control)
{
    if (vm.acpi->has_s5 && (control >> 10 & 7) == vm.acpi->s5_type_a)
        return vm_power_off(v);
    return vm_crash(v, exit,
                    "it asked for an ACPI sleep state that is not S5, power-off; have it "
                    "not suspend");
}

/* From the D1H command to the next write, so that keystrokes do not exit. */
static void trap_keyboard_output(bool trap)
{
    rules[RULE_KEYBOARD_OUTPUT].first = trap ? KEYBOARD_DATA : 1;
    rules[RULE_KEYBOARD_OUTPUT].last = trap ? KEYBOARD_DATA : 0;
    rule_of[KEYBOARD_DATA] = (uint8_t)search(KEYBOARD_DATA);
    backend_trap_port(KEYBOARD_DATA, trap);
}

void port_renew(void)
{
    trap_keyboard_output(false);
}

/* By what the write resets the machine, or NULL. `value` begins with the byte for the rule's port. */
static const char *resets(const struct port_rule *rule, uint32_t value)
{
    switch (rule->action) {
    case PORT_ACPI_RESET:
        return (uint8_t)value == vm.acpi->reset_value ? "ACPI reset register" : NULL;
    case PORT_RESET_CONTROL:
        return value & RESET_CPU ? "port CF9H" : NULL;
    case PORT_SYSTEM_CONTROL:
        return value & FAST_RESET ? "port 92H" : NULL;
    case PORT_KEYBOARD_COMMAND:
        return (value & PULSE_MASK) == PULSE_RESET ? "keyboard controller" : NULL;
    case PORT_KEYBOARD_OUTPUT:
        return value & OUTPUT_NO_RESET ? NULL : "keyboard controller's output port";
    case PORT_PASS:
    case PORT_DENY:
    case PORT_PM1A:
        break;
    }
    return NULL;
}

/* PCI's address register is written by doublewords only; a byte at CF9H is another register. */
static bool is_pci_address(const struct exit *exit)
{
    return exit->io.port == PCI_ADDRESS && exit->io.size == 4;
}

static enum exit_action write_port(struct vcpu *v, const struct exit *exit,
                                   const struct port_rule *rule, uint32_t value)
{
    const uint16_t port = exit->io.port;
    const uint8_t size = exit->io.size;
    uint32_t control = rule->action == PORT_PM1A ? sleep_control(rule, port, size, value) : 0;
    if (rule->action == PORT_DENY)
        return EXIT_NEXT;
    if (control & SLP_EN)
        return enter_sleep(v, exit, control);
    const uint32_t from_rule = rule->first >= port ? value >> 8 * (rule->first - port) : 0;
    if (rule->first >= port && !is_pci_address(exit)) {
        const char *reason = resets(rule, from_rule);
        if (reason != NULL)
            return vm_reset(v, reason);
    }
    if (rule->action == PORT_KEYBOARD_COMMAND)
        trap_keyboard_output((uint8_t)from_rule == WRITE_OUTPUT);
    else if (rule->action == PORT_KEYBOARD_OUTPUT)
        trap_keyboard_output(false);
    port_out(port, size, value);
    return EXIT_NEXT;
}

/* An access wider than a byte exits if any of its ports is trapped; the strictest of them decides. */
static const struct port_rule *find_strictest(uint16_t port, uint8_t size)
{
    static const struct port_rule denied = RULE(0, 0, PORT_DENY, "one of its bytes is denied");
    const struct port_rule *strictest = find(port);
    for (unsigned int i = 0; i < size; i++) {
        const struct port_rule *rule = find((unsigned int)port + i);
        if (rule == NULL || rule->action == PORT_DENY)
            return &denied;
        if (rule->action != PORT_PASS)
            strictest = rule;
    }
    return strictest;
}

enum exit_action port_access(struct vcpu *v, struct exit *exit)
{
    const struct port_rule *rule = find_strictest(exit->io.port, exit->io.size);
    uint32_t mask = exit->io.size == 4 ? UINT32_MAX : (1U << 8 * exit->io.size) - 1;
    if (exit->io.string) /* of none of the trapped ports a string makes sense */
        return exit_fault_code(exit, VECTOR_GP, 0);
    if (!exit->io.in)
        return write_port(v, exit, rule, (uint32_t)v->regs.rax & mask);
    uint32_t value = rule->action == PORT_DENY ? UINT32_MAX : port_in(exit->io.port, exit->io.size);
    if (exit->io.size == 4)
        v->regs.rax = value;
    else
        v->regs.rax = (v->regs.rax & ~(uint64_t)mask) | (value & mask);
    return EXIT_NEXT;
}
