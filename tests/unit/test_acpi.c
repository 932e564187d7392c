/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/acpi.h"
#include "kernel/acpi_tables.h"
#include "kernel/bytes.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdlib.h>

/* A machine's memory from BASE on, with tables at fixed places. */
#define BASE 0x7fe0000UL
#define SIZE 0x10000UL
#define XSDT (BASE + 0x1000)
#define RSDT (BASE + 0x2000)
#define MADT (BASE + 0x3000)
#define FADT (BASE + 0x4000)
#define DSDT (BASE + 0x5000)
#define HPET (BASE + 0x6000)
#define DMAR (BASE + 0x7000)

static uint8_t machine[SIZE];
static uint8_t rsdp[36];
static struct acpi_info info;
static struct refusal why;

static const void *map(void *context, uint64_t address, size_t length)
{
    (void)context;
    bool inside = address >= BASE && length <= SIZE && address - BASE <= SIZE - length;
    return inside ? machine + (address - BASE) : NULL;
}

static const struct acpi_memory memory = {.map = map};

static uint8_t *at(uint64_t address)
{
    return machine + (address - BASE);
}

static uint8_t *table(uint64_t address, const char *signature, uint32_t length)
{
    memset(at(address), 0, 0x1000);
    write32(at(address), read32(signature));
    write32(at(address) + 4, length);
    return at(address);
}

static void seal(uint64_t address)
{
    acpi_set_checksum(at(address), read32(at(address) + 4));
}

static uint8_t sum(const uint8_t *bytes, size_t size)
{
    uint8_t total = 0;
    while (size-- > 0) {
        total += *bytes++;
    }
    return total;
}

static void make_rsdp(unsigned revision)
{
    memset(rsdp, 0, sizeof rsdp);
    write64(rsdp, read64("RSD PTR "));
    rsdp[15] = (uint8_t)revision;
    write32(rsdp + 16, (uint32_t)RSDT);
    rsdp[8] = (uint8_t)-sum(rsdp, 20);
    write32(rsdp + 20, 36);
    write64(rsdp + 24, XSDT);
    rsdp[32] = (uint8_t)-sum(rsdp, 36);
}

static uint32_t madt_used;

static uint8_t *madt_entry(uint8_t type, uint8_t size)
{
    uint8_t *entry = at(MADT) + madt_used;
    entry[0] = type;
    entry[1] = size;
    madt_used += size;
    write32(at(MADT) + 4, madt_used);
    return entry;
}

static void lapic(uint8_t uid, uint8_t id, uint32_t flags)
{
    uint8_t *entry = madt_entry(0, 8);
    entry[2] = uid;
    entry[3] = id;
    write32(entry + 4, flags);
}

static void make_madt(void)
{
    table(MADT, "APIC", 44);
    madt_used = 44;
    write32(at(MADT) + 36, 0xfee00000);
    write32(at(MADT) + 40, 1);
    for (uint8_t i = 0; i < 4; i++) {
        lapic(i + 1, i * 2, 1);
    }
    lapic(9, 0xff, 0);          /* an empty socket */
    madt_entry(1, 12)[2] = 4;   /* IOAPIC */
    madt_entry(4, 6)[2] = 0xff; /* NMI of all */
    madt_entry(4, 6)[2] = 3;    /* of UID 3 */
    uint8_t *x2apic = madt_entry(9, 16);
    write32(x2apic + 4, 0x100);
    write32(x2apic + 8, 2);
    write32(x2apic + 12, 70);
    write32(madt_entry(10, 12) + 4, 70);
    write32(madt_entry(10, 12) + 4, UINT32_MAX);
    write64(madt_entry(5, 12) + 4, 0x1fee00000);
    seal(MADT);
}

static void make_fadt(uint32_t length)
{
    static const uint8_t s5[] = {0x10, 0x20, 0x5c, 0x00, 0x08, '_',  'S',  '5', '_',
                                 0x12, 0x08, 0x04, 0x0a, 0x05, 0x01, 0x00, 0x00};
    uint8_t *fadt = table(FADT, "FACP", length);
    write32(fadt + 40, (uint32_t)DSDT);
    write32(fadt + 48, 0xb2);
    fadt[52] = 0xa0;
    write32(fadt + 64, 0x604);
    write32(fadt + 76, 0x608);
    write32(fadt + 112, 1U << 8 | 1U << 10);
    if (length > 244) {
        fadt[116] = 1;
        fadt[117] = 8;
        write64(fadt + 120, 0xcf9);
        fadt[128] = 6;
        fadt[172] = 1;
        fadt[173] = 16;
        write64(fadt + 176, 0xb004);
    }
    seal(FADT);
    memcpy(table(DSDT, "DSDT", 36 + sizeof s5) + 36, s5, sizeof s5);
    seal(DSDT);
}

static void make_machine(void)
{
    static const uint64_t tables[] = {MADT, FADT, DMAR, HPET, 0, 0x1000};
    memset(machine, 0, sizeof machine);
    uint8_t *xsdt = table(XSDT, "XSDT", 36 + 6 * 8);
    uint8_t *rsdt = table(RSDT, "RSDT", 36 + 6 * 4);
    for (unsigned i = 0; i < 6; i++) {
        write64(xsdt + 36 + (size_t)i * 8, tables[i]);
        write32(rsdt + 36 + (size_t)i * 4, (uint32_t)tables[i]);
    }
    seal(XSDT);
    seal(RSDT);
    make_rsdp(2);
    make_madt();
    make_fadt(276);
    write64(table(HPET, "HPET", 56) + 44, 0xfed00000);
    seal(HPET);
    table(DMAR, "DMAR", 48);
    seal(DMAR);
}

static int parse(void)
{
    return acpi_parse(rsdp, sizeof rsdp, &memory, &info, &why);
}

static void check_refused(int found, int error, const char *text)
{
    CHECK_EQ(found, -error);
    CHECK(strstr(why.text, text) != NULL);
    if (strstr(why.text, text) == NULL) {
        printf("#   \"%s\" is not in \"%s\"\n", text, why.text);
    }
}

static void whole(void)
{
    make_machine();
    CHECK_EQ(parse(), 0);
    CHECK_EQ(info.root, XSDT);
    CHECK(info.root_is_xsdt && info.has_8259 && info.rsdt == RSDT);
    CHECK(info.madt == MADT && info.fadt == FADT && info.dsdt == DSDT && info.hpet == HPET);
    CHECK(info.dmar == DMAR && info.ivrs == 0);
    CHECK_EQ(info.lapic_address, 0x1fee00000);
    CHECK_EQ(info.cpu_count, 5);
    CHECK(info.cpu[3].apic_id == 6 && info.cpu[3].uid == 4 && info.cpu[3].enabled);
    CHECK(info.cpu[4].apic_id == 0x100 && !info.cpu[4].enabled && info.cpu[4].online_capable);
    CHECK(info.pm_timer.address == 0x608 && info.pm_timer.space == 1 && info.pm_timer_32bit);
    CHECK(info.pm1a_control.address == 0xb004 && info.pm1b_control.address == 0);
    CHECK(info.reset_supported && info.reset.address == 0xcf9 && info.reset_value == 6);
    CHECK(info.smi_command == 0xb2 && info.acpi_enable == 0xa0);
    CHECK(info.has_s5 && info.s5_type_a == 5 && info.s5_type_b == 1);
    CHECK_EQ(info.hpet_address, 0xfed00000);
}

static void old_machine(void)
{
    make_machine();
    make_rsdp(0);
    make_fadt(116);
    CHECK_EQ(acpi_rsdp_size(rsdp, sizeof rsdp), 20);
    CHECK_EQ(parse(), 0);
    CHECK(info.root == RSDT && !info.root_is_xsdt);
    CHECK(info.pm1a_control.address == 0x604 && info.pm1a_control.space == 1);
    CHECK(!info.reset_supported);
    CHECK_EQ(info.cpu_count, 5);
}

static void broken(void)
{
    make_machine();
    rsdp[33] ^= 1;
    check_refused(parse(), EINVAL, "no valid RSDP");
    make_rsdp(2);
    write32(rsdp + 20, 1000);
    CHECK_EQ(acpi_rsdp_size(rsdp, 36), 0);
    CHECK_EQ(acpi_rsdp_size(rsdp, 19), 0);
    make_rsdp(2);
    at(XSDT)[9] ^= 1;
    check_refused(parse(), EINVAL, "no valid XSDT");
    make_machine();
    write32(at(XSDT) + 4, 0xffffffff);
    check_refused(parse(), EINVAL, "no valid XSDT");
    make_machine();
    at(MADT)[9] ^= 1;
    check_refused(parse(), ENOENT, "no valid MADT");
    make_machine();
    at(MADT)[45] = 0;
    seal(MADT);
    check_refused(parse(), EINVAL, "MADT entry of type 0 at 44 has 0 bytes");
    at(MADT)[45] = 255;
    seal(MADT);
    check_refused(parse(), EINVAL, "has 255 bytes");
    table(MADT, "APIC", 44);
    seal(MADT);
    check_refused(parse(), ENOENT, "no CPU is enabled");
    make_machine();
    at(FADT)[9] ^= 1;
    at(HPET)[9] ^= 1;
    CHECK_EQ(parse(), 0);
    CHECK(info.fadt == 0 && info.hpet == 0 && !info.has_s5 && info.pm_timer.address == 0);
    make_machine();
    write32(at(DSDT) + 4, 36 + 13); /* ends inside the package */
    seal(DSDT);
    CHECK_EQ(parse(), 0);
    CHECK(!info.has_s5);
}

static void too_many(void)
{
    make_machine();
    table(MADT, "APIC", 44);
    madt_used = 44;
    for (uint32_t i = 0; i < 200; i++) {
        lapic(1, (uint8_t)i, 1);
        lapic(1, (uint8_t)i, 1); /* listed twice is one CPU */
    }
    memset(at(MADT) + madt_used, 0, 0x1000);
    seal(MADT);
    CHECK_EQ(parse(), 0);
    CHECK_EQ(info.cpu_count, 200);
    for (uint32_t i = 0; i < 57; i++) {
        uint8_t *entry = madt_entry(9, 16);
        write32(entry + 4, 1000 + i);
        write32(entry + 8, 1);
    }
    seal(MADT);
    check_refused(parse(), ENOSPC, "more than 256 CPUs");
}

static void keep_only(void)
{
    static const uint32_t ids[] = {0, 4};
    make_machine();
    uint32_t before = read32(at(MADT) + 4);
    CHECK_EQ(madt_keep_only(at(MADT), 0x1000, ids, 2, &why), 0);
    uint32_t length = read32(at(MADT) + 4);
    /* Gone are CPUs 2, 6, 0xff (8 each) and 0x100 (16) and the NMI entry of UID 70 (12). */
    CHECK_EQ(length, before - 3 * 8 - 16 - 12);
    CHECK_EQ(sum(at(MADT), length), 0);
    CHECK_EQ(sum(at(MADT) + length, before - length), 0);
    CHECK_EQ(parse(), 0);
    CHECK(info.cpu_count == 2 && info.cpu[0].apic_id == 0 && info.cpu[1].apic_id == 4);
    CHECK_EQ(info.lapic_address, 0x1fee00000);
    CHECK_EQ(at(MADT)[44 + 16], 1);                                     /* the IOAPIC follows, */
    CHECK(at(MADT)[44 + 28 + 2] == 0xff && at(MADT)[44 + 34 + 2] == 3); /* then the NMIs */

    make_machine();
    static const uint32_t other[] = {0x100};
    CHECK_EQ(madt_keep_only(at(MADT), 0x1000, other, 1, &why), 0);
    CHECK_EQ(parse(), 0);
    CHECK(info.cpu_count == 1 && info.cpu[0].apic_id == 0x100);

    make_machine();
    check_refused(madt_keep_only(at(MADT), 100, ids, 2, &why), EINVAL, "of which 100 are mapped");
    at(MADT)[45] = 1;
    check_refused(madt_keep_only(at(MADT), 0x1000, ids, 2, &why), EINVAL, "has 1 bytes");
}

static void drop(void)
{
    static const char *const iommus[] = {"DMAR", "IVRS"};
    make_machine();
    CHECK_EQ(xsdt_drop(at(XSDT), 0x1000, &memory, iommus, 2, &why), 1);
    CHECK_EQ(xsdt_drop(at(RSDT), 0x1000, &memory, iommus, 2, &why), 1);
    CHECK_EQ(read32(at(XSDT) + 4), 36 + 5 * 8);
    CHECK_EQ(read32(at(RSDT) + 4), 36 + 5 * 4);
    CHECK_EQ(sum(at(RSDT), 36 + 5 * 4), 0);
    CHECK_EQ(parse(), 0);
    CHECK(info.dmar == 0 && info.hpet == HPET && info.madt == MADT);
    make_rsdp(0);
    CHECK_EQ(parse(), 0);
    CHECK(info.dmar == 0 && info.hpet == HPET);
    CHECK_EQ(xsdt_drop(at(XSDT), 0x1000, &memory, iommus, 2, &why), 0);
    check_refused(xsdt_drop(at(MADT), 0x1000, &memory, iommus, 2, &why), EINVAL, "\"APIC\"");
    check_refused(xsdt_drop(at(XSDT), 40, &memory, iommus, 2, &why), EINVAL, "40 are mapped");
}

int main(void)
{
    RUN(whole);
    RUN(old_machine);
    RUN(broken);
    RUN(too_many);
    RUN(keep_only);
    RUN(drop);
    return unit_end();
}
