/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/guest/lib/devices.h"
#include "tests/guest/lib/payload.h"
#include "tests/guest/lib/runtime.h"

#define IOAPIC        0xfec00000UL
#define IOAPIC_LINES  24U
#define PCI_ADDRESS   0xcf8U
#define PCI_DATA      0xcfcU
#define PCI_WORDS     16U
#define BUS_FUNCTIONS 256U
#define ALL_FUNCTIONS 65536U /* bus, device and function */
#define PCI_COMMAND   1U
#define PCI_CLASS     2U
#define PCI_TYPE      3U
#define PCI_BUSES     6U  /* of a bridge: primary, secondary, and the last behind it */
#define PCI_LINE      15U /* the lowest byte */
#define BUS_MASTER    4U
#define CLASS_BRIDGE  6U
#define TYPE_BRIDGE   1U /* to another bus */
#define BUSES_MOVED   0x101000U
#define MULTIFUNCTION (1U << 23)
#define PCI_POINTER   13U /* the first capability */
#define CAP_VENDOR    9U
#define CAPABILITIES  48U
/* Virtual I/O Device Version 1.1 §4.1.4: the capabilities' types, and where they say what. */
#define VIRTIO            0x1af4U
#define VIRTIO_COMMON     1U
#define VIRTIO_WINDOW     5U
#define VIRTIO_BAR        1U
#define VIRTIO_OFFSET     2U
#define VIRTIO_LENGTH     3U
#define VIRTIO_DATA       4U
#define VIRTIO_STATUS     0x14U /* of the common configuration; 0 after a reset, and */
#define VIRTIO_HAS_DRIVER 3U
#define KEYBOARD_POLLS    100000U

static const uint8_t clock_registers[] = {1, 3, 5, 0x0a, 0x0b};
static const uint16_t apic_registers[] = {0x20,  0x80,  0x320, 0x340, 0x350,
                                          0x360, 0x370, 0x380, 0x3e0};

static const struct {
    uint16_t port, step;
    uint8_t page; /* of its second channel */
} dma[] = {{0, 1, 0x83}, {0xc0, 2, 0x8b}};

const char *device_name(enum device device)
{
    static const char *const names[DEVICES] = {"interrupt-controller",
                                               "level-control",
                                               "dma",
                                               "timer",
                                               "keyboard-controller",
                                               "clock",
                                               "serial-port",
                                               "ioapic",
                                               "local-apic",
                                               "pci"};
    return names[device];
}

/* FNV-1a. */
static void add(uint32_t *sum, uint32_t value)
{
    for (unsigned int i = 0; i < 4; i++)
        *sum = (*sum ^ (value >> 8 * i & 0xff)) * 16777619U;
}

static uint32_t pci_read(unsigned int function, unsigned int word)
{
    outl(PCI_ADDRESS, 1U << 31 | function << 8 | word << 2);
    return inl(PCI_DATA);
}

static void pci_write(unsigned int function, unsigned int word, uint32_t value)
{
    outl(PCI_ADDRESS, 1U << 31 | function << 8 | word << 2);
    outl(PCI_DATA, value);
}

/* Each function of the first bus, or of all. */
static void each_function(void (*each)(unsigned int function, void *argument), void *argument)
{
    const unsigned int end = boot_word("all-buses", NULL) ? ALL_FUNCTIONS : BUS_FUNCTIONS;
    for (unsigned int function = 0; function < end; function++) {
        if (pci_read(function, 0) == UINT32_MAX) {
            function |= function & 7 ? 0 : 7;
            continue;
        }
        each(function, argument);
        if (function % 8 == 0 && !(pci_read(function, PCI_TYPE) & MULTIFUNCTION))
            function |= 7;
    }
}

static bool is_bridge(unsigned int function)
{
    return pci_read(function, PCI_CLASS) >> 24 == CLASS_BRIDGE;
}

/* The word at which its capability of this type begins, or 0. */
static unsigned int virtio_capability(unsigned int function, unsigned int type)
{
    unsigned int at = pci_read(function, PCI_POINTER) & 0xfcU;
    for (unsigned int i = 0; at != 0 && i < CAPABILITIES; i++) {
        const uint32_t head = pci_read(function, at / 4U);
        if ((head & 0xffU) == CAP_VENDOR && head >> 24 == type)
            return at / 4U;
        at = head >> 8 & 0xfcU;
    }
    return 0;
}

/* The word through which a virtio device shows its status, or 0: state that no header has. */
static unsigned int virtio_status(unsigned int function)
{
    if ((pci_read(function, 0) & 0xffffU) != VIRTIO)
        return 0;
    const unsigned int common = virtio_capability(function, VIRTIO_COMMON);
    const unsigned int window = virtio_capability(function, VIRTIO_WINDOW);
    if (common == 0 || window == 0)
        return 0;
    pci_write(function, window + VIRTIO_BAR, pci_read(function, common + VIRTIO_BAR));
    pci_write(function, window + VIRTIO_OFFSET,
              pci_read(function, common + VIRTIO_OFFSET) + VIRTIO_STATUS);
    pci_write(function, window + VIRTIO_LENGTH, 1);
    return window + VIRTIO_DATA;
}

/* Without what only the device itself sets, and bus mastering. */
static void sum_function(unsigned int function, void *argument)
{
    const unsigned int status = virtio_status(function);
    if (status != 0)
        add(argument, pci_read(function, status) & 0xffU);
    for (unsigned int word = 0; word < PCI_WORDS; word++) {
        uint32_t value = pci_read(function, word);
        add(argument, word == PCI_COMMAND ? value & 0xffff & ~BUS_MASTER : value);
    }
}

static void change_function(unsigned int function, void *argument)
{
    (void)argument;
    if (is_bridge(function))
        return;
    pci_write(function, PCI_COMMAND, (pci_read(function, PCI_COMMAND) & 0xffff) | BUS_MASTER);
    pci_write(function, PCI_LINE, pci_read(function, PCI_LINE) ^ 0xa5);
    const unsigned int status = virtio_status(function);
    if (status != 0)
        pci_write(function, status, VIRTIO_HAS_DRIVER);
}

struct bridges {
    unsigned int count, function[16];
};

static void note_bridge(unsigned int function, void *argument)
{
    struct bridges *bridges = argument;
    if ((pci_read(function, PCI_TYPE) >> 16 & 0x7f) == TYPE_BRIDGE && bridges->count < 16)
        bridges->function[bridges->count++] = function;
}

/* From the last to the first: what leads to others loses them. */
static void move_buses(void)
{
    struct bridges bridges = {.count = 0};
    each_function(note_bridge, &bridges);
    for (unsigned int i = bridges.count; i-- > 0;)
        pci_write(bridges.function[i], PCI_BUSES,
                  pci_read(bridges.function[i], PCI_BUSES) + BUSES_MOVED);
}

static void count_master(unsigned int function, void *argument)
{
    if (!is_bridge(function) && (pci_read(function, PCI_COMMAND) & BUS_MASTER))
        ++*(unsigned int *)argument;
}

static void count_function(unsigned int function, void *argument)
{
    struct pci_counts *counts = argument;
    const unsigned int status = virtio_status(function);
    counts->idle += status != 0 && (pci_read(function, status) & 0xffU) == 0;
    counts->functions++;
    counts->buses += counts->functions == 1 || counts->last != function >> 8;
    counts->last = function >> 8;
}

struct pci_counts device_pci(void)
{
    struct pci_counts counts = {.functions = 0};
    each_function(count_function, &counts);
    return counts;
}

unsigned int device_bus_masters(void)
{
    unsigned int count = 0;
    each_function(count_master, &count);
    return count;
}

static uint32_t ioapic_read(uint32_t index)
{
    *(volatile uint32_t *)IOAPIC = index;
    return *(volatile uint32_t *)(IOAPIC + 0x10);
}

static void ioapic_write(uint32_t index, uint32_t value)
{
    *(volatile uint32_t *)IOAPIC = index;
    *(volatile uint32_t *)(IOAPIC + 0x10) = value;
}

static uint8_t clock_read(uint8_t index)
{
    outb(0x70, index);
    return inb(0x71);
}

static void clock_change(uint8_t index, uint8_t bits)
{
    uint8_t value = clock_read(index);
    outb(0x71, value ^ bits);
}

static void keyboard_wait(uint8_t bit, uint8_t wanted)
{
    for (unsigned int i = 0; i < KEYBOARD_POLLS && (inb(0x64) & bit) != wanted; i++)
        cpu_pause();
}

static void keyboard_command(uint8_t command)
{
    keyboard_wait(2, 0);
    outb(0x64, command);
    keyboard_wait(2, 0);
}

static uint8_t keyboard_ask(uint8_t command)
{
    keyboard_command(command);
    keyboard_wait(1, 1);
    return inb(0x60);
}

static void sum_dma(uint32_t *sum)
{
    for (unsigned int i = 0; i < 2; i++) {
        outb((uint16_t)(dma[i].port + 12U * dma[i].step), 0);
        for (unsigned int word = 0; word < 8; word++) {
            add(sum, inb((uint16_t)(dma[i].port + word * dma[i].step)));
            add(sum, inb((uint16_t)(dma[i].port + word * dma[i].step)));
        }
        add(sum, inb(dma[i].page));
    }
}

static void change_dma(void)
{
    for (unsigned int i = 0; i < 2; i++) {
        outb((uint16_t)(dma[i].port + 12U * dma[i].step), 0);
        for (unsigned int byte = 0; byte < 2; byte++)
            outb((uint16_t)(dma[i].port + 2U * dma[i].step), 0x5a);
        outb(dma[i].page, 0x5a);
        outb((uint16_t)(dma[i].port + 12U * dma[i].step), 0);
        outb((uint16_t)(dma[i].port + 2U * dma[i].step), 0x5a); /* the upper half is next */
    }
}

/* The mode of the first channel, by the read-back command. */
static void sum_timer(uint32_t *sum)
{
    outb(0x43, 0xe2);
    add(sum, inb(0x40) & 0x3f);
    add(sum, inb(0x61) & 0xf);
}

uint16_t device_sum(enum device device)
{
    uint32_t sum = 2166136261U;
    switch (device) {
    case DEVICE_PIC:
        add(&sum, found_at_start.pic_masks);
        break;
    case DEVICE_ELCR:
        add(&sum, inw(0x4d0));
        break;
    case DEVICE_DMA:
        sum_dma(&sum);
        break;
    case DEVICE_PIT:
        sum_timer(&sum);
        break;
    case DEVICE_KEYBOARD:
        add(&sum, keyboard_ask(0x20));
        add(&sum, keyboard_ask(0xd0) & 3U);
        break;
    case DEVICE_CLOCK:
        for (unsigned int i = 0; i < sizeof(clock_registers); i++)
            add(&sum, clock_read(clock_registers[i]) & 0x7f);
        break;
    case DEVICE_UART:
        for (unsigned int i = 0; i < sizeof(found_at_start.uart); i++)
            add(&sum, found_at_start.uart[i]);
        break;
    case DEVICE_IOAPIC:
        for (uint32_t i = 0x10; i < 0x10 + 2 * IOAPIC_LINES; i++)
            add(&sum, ioapic_read(i));
        break;
    case DEVICE_APIC:
        for (unsigned int i = 0; i < sizeof(apic_registers) / sizeof(apic_registers[0]); i++)
            add(&sum, apic_read(apic_registers[i]));
        break;
    case DEVICE_PCI:
        each_function(sum_function, &sum);
        break;
    case DEVICES:
        break;
    }
    return (uint16_t)(sum ^ sum >> 16);
}

void device_change(enum device device)
{
    switch (device) {
    case DEVICE_PIC:
        outb(0x21, 0x5a);
        outb(0xa1, 0xa5);
        break;
    case DEVICE_ELCR:
        outw(0x4d0, inw(0x4d0) ^ 0x0220);
        break;
    case DEVICE_DMA:
        change_dma();
        break;
    case DEVICE_PIT:
        outb(0x43, 0x30);
        outb(0x43, 0x70);
        outb(0x61, 3);
        break;
    case DEVICE_KEYBOARD: /* and a command that waits for its byte */
    {
        const uint8_t configuration = keyboard_ask(0x20);
        keyboard_command(0x60);
        outb(0x60, configuration ^ 0x40);
        keyboard_command(0xd1);
        break;
    }
    case DEVICE_CLOCK:
        for (unsigned int i = 0; i < 3; i++)
            clock_change(clock_registers[i], 0x11);
        clock_change(0x0a, 5);
        clock_change(0x0b, 0x20); /* interrupt by alarm */
        break;
    case DEVICE_UART:
        outb(0x3f8 + 7, inb(0x3f8 + 7) ^ 0xa5);
        outb(0x3f8 + 1, 5);
        outb(0x3f8 + 4, 0x0b);
        break;
    case DEVICE_IOAPIC:
        for (uint32_t i = 0; i < IOAPIC_LINES; i++) {
            ioapic_write(0x10 + 2 * i, 1U << 16 | (0x40 + i));
            ioapic_write(0x11 + 2 * i, 1U << 24);
        }
        break;
    case DEVICE_APIC:
        for (unsigned int i = 2; i < 7; i++)
            apic_write(apic_registers[i], 1U << 16 | 0x77);
        apic_write(APIC_TIMER_DIVIDE, 3);
        apic_write(APIC_TIMER_COUNT, UINT32_MAX);
        apic_write(0x80, 0x20);
        break;
    case DEVICE_PCI:
        each_function(change_function, NULL);
        move_buses();
        break;
    case DEVICES:
        break;
    }
}
