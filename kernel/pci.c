/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/pci.h"
#include "kernel/tsc.h"
#include "kernel/x86.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#define ADDRESS_PORT 0xcf8U
#define DATA_PORT    0xcfcU
#define ENABLE       (1U << 31)

/* The standard header, in doublewords: PCI Local Bus Specification 3.0 §6.1. */
#define HEADER_WORDS  16U
#define WORD_ID       0U
#define WORD_COMMAND  1U
#define WORD_CLASS    2U
#define WORD_TYPE     3U
#define WORD_BUSES    6U  /* bridges: secondary bus in bits 15:8 */
#define WORD_POINTER  13U /* capabilities */
#define COMMAND_MASK  0xffffU
#define BUS_MASTER    (1U << 2)
#define DECODES       3U         /* I/O and memory */
#define HAS_LIST      (1U << 20) /* status: there is a capability list */
#define MULTIFUNCTION (1U << 23) /* of the header type's byte */
#define TYPE_MASK     0x7f0000U
#define TYPE_BRIDGE   0x010000U
#define NO_DEVICE     0xffffffffU

#define CAP_POWER        0x01U
#define CAP_MSI          0x05U
#define CAP_EXPRESS      0x10U
#define CAP_MSIX         0x11U
#define CAP_ADVANCED     0x13U
#define POWER_STATE      3U        /* of the second doubleword: D0 to D3hot */
#define POWER_SOFT_RESET (1U << 3) /* 1: it keeps its state over D3hot */
#define POWER_PME_STATUS (1U << 15)
#define POWER_US         10000U
#define MSI_ENABLE       (1U << 16)
#define MSIX_ENABLE      (1U << 31)
#define EXPRESS_FLR      (1U << 28) /* device capabilities */
#define EXPRESS_RESET    (1U << 15) /* device control */
#define ADVANCED_FLR     (1U << 25) /* of the first doubleword */
#define ADVANCED_RESET   1U
#define CAPABILITIES_MAX 48U
#define CLASS(f)         ((f)->header[WORD_CLASS] >> 24)
#define CLASS_DISPLAY    3U
#define CLASS_BRIDGE     6U
#define RESET_US         100000U

struct function {
    uint8_t bus, device, number;
    uint32_t header[HEADER_WORDS];
};

static struct function functions[PCI_FUNCTIONS_MAX];
static unsigned int count;

static void select_word(const struct function *f, unsigned int offset)
{
    outl(ADDRESS_PORT, ENABLE | (uint32_t)f->bus << 16 | (uint32_t)f->device << 11 |
                           (uint32_t)f->number << 8 | (offset & 0xfcU));
}

static uint32_t read_word(const struct function *f, unsigned int word)
{
    select_word(f, word * 4);
    return inl(DATA_PORT);
}

static void write_word(const struct function *f, unsigned int word, uint32_t value)
{
    select_word(f, word * 4);
    outl(DATA_PORT, value);
}

/* Buses that are still to be looked at, found behind bridges. */
struct scan {
    bool wanted[256], seen[256];
    bool more; /* functions than have a place */
};

static bool keep(struct scan *scan, struct function f)
{
    if (read_word(&f, WORD_ID) == NO_DEVICE)
        return false;
    for (unsigned int i = 0; i < HEADER_WORDS; i++)
        f.header[i] = read_word(&f, i);
    if ((f.header[WORD_TYPE] & TYPE_MASK) == TYPE_BRIDGE)
        scan->wanted[f.header[WORD_BUSES] >> 8 & 0xff] = true;
    if (count < PCI_FUNCTIONS_MAX)
        functions[count++] = f;
    else
        scan->more = true;
    return f.header[WORD_TYPE] & MULTIFUNCTION;
}

static void scan_bus(struct scan *scan, uint8_t bus)
{
    scan->seen[bus] = true;
    for (uint8_t device = 0; device < 32; device++) {
        struct function f = {.bus = bus, .device = device};
        bool more = keep(scan, f);
        for (f.number = 1; more && f.number < 8; f.number++)
            (void)keep(scan, f);
    }
}

/* A bus, and those that its bridges lead to. */
static void scan_from(struct scan *scan, unsigned int root)
{
    bool found = !scan->seen[root];
    scan->wanted[root] = true;
    while (found) {
        found = false;
        for (unsigned int bus = 0; bus < 256; bus++) {
            if (scan->wanted[bus] && !scan->seen[bus]) {
                scan_bus(scan, (uint8_t)bus);
                found = true;
            }
        }
    }
}

int pci_save(void)
{
    static struct scan scan;
    uint32_t address = inl(ADDRESS_PORT);
    count = 0;
    for (unsigned int root = 0; root < 256; root++)
        scan_from(&scan, root);
    outl(ADDRESS_PORT, address);
    return scan.more ? -E2BIG : 0;
}

/* The doubleword at which a capability begins, or 0. */
static unsigned int find_capability(const struct function *f, uint8_t id)
{
    unsigned int at = f->header[WORD_POINTER] & 0xfcU;
    if (!(f->header[WORD_COMMAND] & HAS_LIST))
        return 0;
    for (unsigned int i = 0; at >= 0x40 && i < CAPABILITIES_MAX; i++) {
        uint32_t word = read_word(f, at / 4);
        if ((word & 0xff) == id)
            return at / 4;
        at = word >> 8 & 0xfcU;
    }
    return 0;
}

/*
 * Function-level reset: PCI Express Base Specification 4.0 §6.6.2; Advanced Features ECN. Where the
 * function has one: the doubleword that begins it, and what is to be written there.
 */
static unsigned int find_reset(const struct function *f, uint32_t *value)
{
    unsigned int express = find_capability(f, CAP_EXPRESS);
    unsigned int advanced = find_capability(f, CAP_ADVANCED);
    if (express != 0 && (read_word(f, express + 1) & EXPRESS_FLR)) {
        *value = (read_word(f, express + 2) & 0xffffU) | EXPRESS_RESET;
        return express + 2;
    }
    *value = ADVANCED_RESET;
    return advanced != 0 && (read_word(f, advanced) & ADVANCED_FLR) ? advanced + 1 : 0;
}

static bool reset(const struct function *f)
{
    uint32_t value;
    const unsigned int word = find_reset(f, &value);
    if (word != 0)
        write_word(f, word, value);
    return word != 0;
}

static void write_power(const struct function *f, unsigned int power, uint32_t now, uint32_t state)
{
    write_word(f, power + 1, (now & 0xffffU & ~(POWER_STATE | POWER_PME_STATUS)) | state);
}

/*
 * Of what has no such reset the power management makes one, on the way from D3hot to D0: PCI Power
 * Management Interface Specification 1.2 §5.4.1. It takes a display from a guest that does not run
 * the card's own firmware, so not there; and not what leads to other functions. 0 if it makes none.
 */
static unsigned int find_power_reset(const struct function *f, uint32_t *now)
{
    const unsigned int power = find_capability(f, CAP_POWER);
    if (power == 0 || CLASS(f) == CLASS_DISPLAY || CLASS(f) == CLASS_BRIDGE)
        return 0;
    *now = read_word(f, power + 1);
    return *now & POWER_SOFT_RESET ? 0 : power;
}

static bool set_power(const struct function *f, uint32_t state)
{
    uint32_t now;
    const unsigned int power = find_power_reset(f, &now);
    if (power != 0)
        write_power(f, power, now, state);
    return power != 0;
}

static bool power_down(const struct function *f)
{
    return set_power(f, POWER_STATE);
}

static bool power_up(const struct function *f)
{
    return set_power(f, 0);
}

/* Messages are interrupts that would arrive after the new guest has turned bus mastering on. */
static void forget_messages(const struct function *f)
{
    const unsigned int msi = find_capability(f, CAP_MSI), msix = find_capability(f, CAP_MSIX);
    if (msi != 0)
        write_word(f, msi, read_word(f, msi) & ~MSI_ENABLE);
    if (msix != 0)
        write_word(f, msix, read_word(f, msix) & ~MSIX_ENABLE);
}

/* The command last: addresses do not move while they are decoded. Status bits are cleared by ones. */
static void restore(const struct function *f, uint32_t command)
{
    forget_messages(f);
    for (unsigned int i = WORD_TYPE; i < HEADER_WORDS; i++) {
        if (read_word(f, i) != f->header[i])
            write_word(f, i, f->header[i]);
    }
    write_word(f, WORD_COMMAND, command);
}

static bool is_bridge(const struct function *f)
{
    return (f->header[WORD_TYPE] & TYPE_MASK) == TYPE_BRIDGE;
}

/* Each function that is no bridge; and the time that those take of which it is true. */
static void each(bool (*what)(const struct function *f), uint64_t wait)
{
    bool any = false;
    for (unsigned int i = 0; i < count; i++)
        any = (!is_bridge(&functions[i]) && what(&functions[i])) || any;
    if (any)
        tsc_delay(wait);
}

static bool silence(const struct function *f)
{
    write_word(f, WORD_COMMAND, read_word(f, WORD_COMMAND) & DECODES);
    return false;
}

/* What the guest put to sleep does not answer, nor does what is behind it. */
static void wake(const struct function *f)
{
    const unsigned int power = find_capability(f, CAP_POWER);
    const uint32_t now = power != 0 ? read_word(f, power + 1) : 0;
    if ((now & POWER_STATE) == 0)
        return;
    write_power(f, power, now, 0);
    tsc_delay(POWER_US);
}

/* Its buses have the numbers again by which the functions behind it are known. A bridge that masters
 * no bus hides them from memory. */
static void restore_bridge(const struct function *f)
{
    write_word(f, WORD_COMMAND, 0);
    restore(f, f->header[WORD_COMMAND] & COMMAND_MASK);
}

void pci_restore(void)
{
    each(silence, 0); /* what is found: next bridges refuse what it would write */
    for (unsigned int i = 0; i < count; i++) { /* a bridge comes before what is behind it */
        wake(&functions[i]);
        if (is_bridge(&functions[i]))
            restore_bridge(&functions[i]);
    }
    each(silence, 0);
    each(power_down, POWER_US);
    each(power_up, POWER_US);
    each(reset, RESET_US);
    for (unsigned int i = 0; i < count; i++) {
        const struct function *f = &functions[i];
        if (!is_bridge(f))
            restore(f, f->header[WORD_COMMAND] & COMMAND_MASK & ~BUS_MASTER);
    }
    outl(ADDRESS_PORT, 0);
}

unsigned int pci_without_reset(char *text, size_t size)
{
    unsigned int found = 0;
    size_t used = 0;
    for (unsigned int i = 0; i < count; i++) {
        const struct function *f = &functions[i];
        uint32_t value;
        if (CLASS(f) == CLASS_BRIDGE || find_reset(f, &value) != 0 || find_power_reset(f, &value))
            continue;
        found++;
        if (used + PCI_NAME_SIZE < size)
            used += (size_t)snprintf(text + used, size - used, " %02x:%02x.%u", f->bus, f->device,
                                     f->number);
    }
    outl(ADDRESS_PORT, 0);
    return found;
}
