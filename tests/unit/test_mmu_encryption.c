/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory encryption (mmu/encryption.h), on a machine that does it: whoever sees a page of memory
 * sees it with the same C-bit, the hardware's walks included, and no address ever holds one.
 */
#include "tests/unit/sme_machine.h"

#include "mmu/direct.h"
#include "mmu/registers.h"
#include "mmu/shadow.h"
#include <sys/wait.h>
#include <unistd.h>

#define NO_SME        ((struct host){.cbit = 0})
#define SHADOW_MIB    2U
#define SHADOW_PAGES  512U
#define GUEST_TABLES  0x400000UL /* the guest's own, a page each: level 4, 3, 2, 1 */
#define GUEST_DATA    0x500000UL
#define GUEST_ADDRESS 0x7f1234567000UL
#define GUEST_WORD    0x0123456789abcdefUL

/* --- what the hardware sees of a set of tables --- */

struct tally {
    unsigned long ram, latch, devices;
};

/* Each page that the tables map, from the root register on, with the C-bit that it must have. */
static void check_table(uint64_t entry, unsigned int level, struct tally *tally)
{
    uint64_t table;
    bool c;

    if (!follow(entry, &table, &c))
        return;
    CHECK(is_latch(table));
    CHECK_EQ(c, cpu.cbit != 0);
    for (unsigned int i = 0; i < ENTRIES; i++) {
        const uint64_t size = level_size(level), below = dram_read(table + i * 8UL, c);
        uint64_t page;

        if (!(below & 1))
            continue;
        if (level > 1 && !(below & 128)) {
            check_table(below, level - 1, tally);
            continue;
        }
        if (!follow(below, &page, &c))
            continue;
        page &= ~(size - 1);
        for (uint64_t at = page; at < page + size && at < RAM; at += PAGE_SIZE) {
            CHECK_EQ(c, cpu.cbit != 0 && is_latch(at));
            CHECK(view[at / PAGE_SIZE] == UNMAPPED || view[at / PAGE_SIZE] == c);
            tally->ram++;
            tally->latch += is_latch(at);
        }
        if (page >= RAM)
            CHECK(!c);
        tally->devices += page >= RAM;
        c = cpu.cbit != 0; /* of this table, again */
    }
}

static struct tally check_tables(uint64_t root)
{
    struct tally tally = {.ram = 0};

    settle();
    wild = 0;
    check_table(root, levels(), &tally);
    CHECK_EQ(wild, 0);
    return tally;
}

/* What Latch brought along, as the CPU executes and reads it. */
static void check_content(void)
{
    for (unsigned int m = 0; m < MODULES; m++) {
        const struct boot_module *module = &boot.module[m];
        const uint64_t *words = memory_at(hpa(module->start));

        CHECK(is_latch(module->start) && is_latch(module->end));
        CHECK_EQ(module->end - module->start, loaded[m][1] - loaded[m][0]);
        for (uint64_t i = 0; i < (module->end - module->start) / 8; i++)
            CHECK_EQ(words[i], rubbish(loaded[m][0] + i * 8));
    }
    for (uint64_t i = 0; i < IMAGE_SIZE; i += 8) {
        struct seen seen;
        uint64_t wanted;

        memcpy(&wanted, image_start + i, sizeof(wanted));
        CHECK(walk(cr3, (uint64_t)image_start + i, &seen));
        CHECK_EQ(dram_read(seen.page + i % PAGE_SIZE, seen.c), wanted);
    }
}

/* --- the tests, each on a machine of its own --- */

static void host_tables(void)
{
    volatile void *device;

    boot_latch(SHADOW_MIB);
    CHECK_EQ(flushed_caches, cpu.cbit != 0);
    struct tally tally = check_tables(memory_cr3());
    CHECK_EQ(tally.ram, PAGES - (0x100000 - 0x9f000) / PAGE_SIZE);
    CHECK_EQ(tally.latch, (latch_range.end - latch_range.start) / PAGE_SIZE);
    CHECK_EQ(tally.devices, 0);
    check_content();
    CHECK(memory_stack(1, 0) != 0);
    CHECK_EQ(memory_protect(hpa(latch_range.pool), 3, false), 0);
    CHECK_EQ(memory_map_trampoline(hpa(0x8000)), 0);
    CHECK_EQ(memory_map_mmio(hpa(DEVICE), PAGE_SIZE, &device), 0);
    CHECK(memory_firmware(NULL, 0xe0000, 64) != NULL);
    tally = check_tables(memory_cr3());
    CHECK_EQ(tally.devices, 1);
    check_content();
}

/* A CPU that starts has a CR3 of 32 bits: it reads the root's copy without C-bit, all else with. */
static void root_for_a_starting_cpu(void)
{
    struct seen seen;

    boot_latch(SHADOW_MIB);
    CHECK_EQ(memory_map_trampoline(hpa(0x8000)), 0);
    memory_copy_root(hpa(0x9000));
    settle();
    wild = 0;
    CHECK(walk(0x9000, 0x8000, &seen) && seen.page == 0x8000 && !seen.c);
    CHECK(walk(0x9000, (uint64_t)image_start, &seen) && is_latch(seen.page));
    CHECK_EQ(wild, 0);
    CHECK_EQ(memory_cr3() & ~cbit_mask(), tables.root.raw);
    CHECK_EQ(memory_cr3() & cbit_mask(), cbit_mask());
}

/* The guest gets it, and so Latch must not see it encrypted any more; the TLB is flushed. */
static void shadow_memory_given_up(void)
{
    const uint64_t start = (boot_latch(SHADOW_MIB), latch_range.start);

    CHECK_EQ(view[start / PAGE_SIZE], cpu.cbit != 0);
    CHECK_EQ(memory_release_shadow(), 0);
    CHECK_EQ(flushed_caches, 2 * (cpu.cbit != 0));
    CHECK(!is_latch(start));
    CHECK_EQ(view[start / PAGE_SIZE], 0);
    check_tables(memory_cr3());
    check_content();
}

/* The guest's side, as kernel/vm.c makes it. */
static struct mmu_env guest_env = {
    .alloc_page = memory_env_alloc, .free_page = memory_env_free, .map = memory_env_map};
static struct walk_env guest_walk_env;
static struct table_page cached[64];
static struct table_cache cache;
static struct guest_map guest_map;
static const struct mtrr_state mtrrs = {.def_type = 0xc06};
static struct direct direct;
static struct table_page *root[2]; /* without and with the shadow pages */
static struct shadow_page shadow_pages[SHADOW_PAGES];
static struct shadow shadow;
static struct shadow_cpu vcpu;
static struct paging_props props;

static void no_flush(void *ctx)
{
    (void)ctx;
}

static int read_guest(void *ctx, gpa_t address, unsigned int size, uint64_t *value)
{
    (void)ctx;
    *value = UINT64_MAX;
    if (address.raw < RAM && !is_latch(address.raw))
        memcpy(value, memory_at(hpa(address.raw)), size);
    return 0;
}

static int mark_guest(void *ctx, gpa_t address, unsigned int size, uint64_t expected,
                      uint64_t value)
{
    (void)ctx;
    (void)expected;
    memcpy(memory_at(hpa(address.raw)), &value, size);
    return 0;
}

static const void *guest_ram(void *ctx, gfn_t frame)
{
    (void)ctx;
    return memory_at(hpa(frame.raw << PAGE_SHIFT));
}

static void make_guest(void)
{
    struct table_format format;
    struct role_context context = {.format = FORMAT_NPT, .direct = true};
    const struct paging_state off = {.props = &props};

    boot_latch(SHADOW_MIB);
    props = (struct paging_props){.maxphyaddr = (uint8_t)(cpu.cbit ? cpu.maxphyaddr : 48),
                                  .vendor = PAGING_AMD,
                                  .gbpages = true,
                                  .nx = true,
                                  .pat = true};
    props.cbit = props.maxphyaddr - 1; /* often just the host's */
    props.reduction = 1;
    guest_env.flush = no_flush;
    CHECK_EQ(format_init(&format, FORMAT_NPT, levels(), 3, false), 0);
    format.encryption = &memory_encryption;
    table_cache_init(&cache, &guest_env, cached, sizeof(cached) / sizeof(cached[0]));
    CHECK_EQ(
        guest_map_set(&guest_map, gpa(0), encryption_reach(&memory_encryption), hpa(0), GUEST_PASS),
        0);
    CHECK_EQ(guest_map_set(&guest_map, gpa(latch_range.start), latch_range.end - latch_range.start,
                           hpa(0), GUEST_ABSENT),
             0);
    direct_init(&direct, &guest_env, &cache, &format, &guest_map, &mtrrs);
    guest_walk_env =
        (struct walk_env){.read = read_guest, .compare_exchange = mark_guest, .ram = guest_ram};
    shadow_init(&shadow, &guest_env, &guest_walk_env, &direct, hpa(latch_range.start), SHADOW_PAGES,
                1, shadow_pages, true);
    CHECK_EQ(shadow_cpu_init(&shadow, &vcpu, &props, &context), 0);
    for (unsigned int i = 0; i < 2; i++) {
        context.tables = i;
        CHECK_EQ(direct_root(&direct, role_from_state(&off, &context, levels()), &root[i]), 0);
        CHECK_EQ(direct_build(&direct, root[i], gpa(4UL << 30)), 0);
    }
}

static uint64_t nested(unsigned int which)
{
    return memory_register(root[which]->page);
}

/* Devices by large pages, RAM as Latch sees it, and of Latch nothing but the shadow pages. */
static void nested_tables(void)
{
    struct tally tally;

    make_guest();
    tally = check_tables(nested(0));
    CHECK_EQ(tally.ram, PAGES - (latch_range.end - latch_range.start) / PAGE_SIZE);
    CHECK_EQ(tally.latch, 0);
    CHECK(tally.devices > 3);
    tally = check_tables(nested(1));
    CHECK_EQ(tally.latch, SHADOW_PAGES);
    direct_protect(&direct, gfn(0x500), false); /* splits */
    CHECK_EQ(direct_set_kind(&direct, gpa(0xfee00000), PAGE_SIZE, GUEST_READ_ONLY), 0);
    direct_rebuild(&direct);
    CHECK_EQ(direct_build(&direct, root[0], gpa(4UL << 30)), 0);
    CHECK_EQ(direct_build(&direct, root[1], gpa(4UL << 30)), 0);
    CHECK_EQ(check_tables(nested(0)).latch, 0);
    check_tables(nested(1));
    check_tables(memory_cr3());
    check_content();
}

/* To the guest the host's C-bit is one of an address, and there is no memory behind it. */
static void no_way_around_by_the_cbit(void)
{
    make_guest();
    for (unsigned int bit = cpu.cbit ? cpu.maxphyaddr - cpu.reduction : 48; bit < 52; bit++) {
        const uint64_t address = latch_range.home | 1UL << bit;
        struct direct_result result;
        struct seen seen;

        for (unsigned int i = 0; i < 2; i++) {
            CHECK_EQ(direct_fill(&direct, root[i], gpa(address), &result), 0);
            CHECK_EQ(result.kind, GUEST_ABSENT);
            settle();
            CHECK(!walk(nested(i), address & (level_size(levels() + 1) - 1), &seen) ||
                  !is_latch(seen.page));
        }
        struct table_space space = {
            .env = &guest_env, .format = direct.format, .root = root[0]->page};
        if (cpu.cbit != 0)
            CHECK_EQ(table_map(&space, 0x1000, hpa(address), PAGE_SIZE, ACCESS_RWX, CACHE_WB),
                     -EINVAL);
    }
    CHECK_EQ(check_tables(nested(0)).latch, 0);
    check_tables(nested(1));
}

static void guest_store(uint64_t address, uint64_t value)
{
    struct seen seen;

    settle();
    CHECK(walk(nested(1), address, &seen));
    address = seen.page + (address & (seen.size - 1));
    dram[address / 8] = value ^ key(address & ~7UL, seen.c);
    view[address / PAGE_SIZE] = UNMAPPED; /* the caches are coherent: read it again */
    look(false);
}

/* The hardware's walk of the shadow tables: each of their addresses is one of the guest's. */
static bool walk_shadow(uint64_t linear, struct seen *seen)
{
    uint64_t entry = vcpu.cr3.raw;

    for (unsigned int level = 4; level > 0; level--) {
        const unsigned int shift = 3 + 9 * level;

        if (!walk(nested(1), entry & BITS_51_12, seen))
            return false;
        CHECK_EQ(seen->c, cpu.cbit != 0);
        CHECK(is_latch(seen->page));
        entry = dram_read(seen->page + ((entry & BITS_51_12) & (seen->size - 1)) +
                              (linear >> shift) % ENTRIES * 8,
                          seen->c);
        if (!(entry & 1))
            return false;
        CHECK_EQ(entry >> (props.maxphyaddr - props.reduction) & 0xfffUL >> (52 - props.cbit), 0);
        CHECK_EQ(entry & BITS_51_12 & 1UL << props.cbit, 0);
    }
    const uint64_t page = entry & BITS_51_12;
    if (!walk(nested(1), page, seen))
        return false;
    seen->page += page & (seen->size - 1);
    return true;
}

/* The model's C-bit is legal in CR3 and in entries, is no part of an address, and encrypts nothing:
 * the guest, its devices and Latch see the same. */
static void shadow_tables(void)
{
    const uint64_t c = (make_guest(), 1UL << props.cbit);
    struct walk_result result;
    struct seen seen;

    for (unsigned int level = 4; level > 0; level--) {
        uint64_t table = GUEST_TABLES + (4 - level) * PAGE_SIZE;
        uint64_t below = level == 1 ? GUEST_DATA : table + PAGE_SIZE;

        guest_store(table + (GUEST_ADDRESS >> (3 + 9 * level)) % ENTRIES * 8,
                    below | 7 | (level != 3 ? c : 0));
    }
    guest_store(GUEST_DATA, GUEST_WORD);
    CHECK_EQ(*(uint64_t *)memory_at(hpa(GUEST_DATA)), GUEST_WORD);
    CHECK_EQ(dram[GUEST_DATA / 8], GUEST_WORD); /* as a device reads it */
    vcpu.state = (struct paging_state){.cr0 = CR0_PG | CR0_WP | CR0_PE,
                                       .cr3 = GUEST_TABLES | c,
                                       .cr4 = CR4_PAE,
                                       .efer = EFER_LME | EFER_LMA | EFER_NXE,
                                       .props = &props};
    shadow_load(&shadow, &vcpu);
    CHECK_EQ(shadow_fault(&shadow, &vcpu, gla(GUEST_ADDRESS), ACCESS_READ, &result), SHADOW_RETRY);
    CHECK_EQ(result.address.raw, GUEST_DATA);
    settle();
    wild = 0;
    CHECK(walk_shadow(GUEST_ADDRESS, &seen));
    CHECK_EQ(seen.page, GUEST_DATA);
    CHECK(!seen.c);
    CHECK_EQ(dram_read(seen.page, seen.c), GUEST_WORD);
    CHECK_EQ(wild, 0);
    check_tables(nested(0));
    check_tables(nested(1));
    check_tables(memory_cr3());
}

/* The machine shows each bit that is wrong: what it finds nothing in has none. */
static void a_wrong_bit_shows(void)
{
    const uint64_t device = PHYSMAP_BASE + boot.module[0].start;
    struct seen right, wrong;

    boot_latch(SHADOW_MIB);
    if (cpu.cbit == 0) {
        CHECK_EQ(check_tables(cr3).latch, (latch_range.end - latch_range.start) / PAGE_SIZE);
        return;
    }
    settle();
    CHECK(walk(cr3, device, &right) && !right.c && right.tables_c);
    CHECK(!walk(cr3 ^ cbit_mask(), device, &wrong) || wrong.page != right.page);
    uint64_t place = (cr3 & ~cbit_mask()) + (device >> (3 + 9 * levels())) % ENTRIES * 8;
    dram[place / 8] ^= cbit_mask(); /* the link to the second level */
    CHECK(!walk(cr3, device, &wrong) || wrong.page != right.page);
    dram[place / 8] ^= cbit_mask();
    CHECK(dram_read(latch_range.home, true) != dram_read(latch_range.home, false));
    CHECK_EQ(dram_read(latch_range.home, true), *(uint64_t *)image_start);
}

static void memory_beyond_the_width_is_refused(void)
{
    struct refusal why = {.text = ""};
    const uint64_t end = encryption_reach(&memory_encryption);

    if (cpu.cbit == 0) {
        CHECK_EQ(end, 1UL << 52);
        return;
    }
    CHECK_EQ(encryption_init(&memory_encryption, cpu.maxphyaddr, cpu.cbit, cpu.reduction), 0);
    const uint64_t reach = 1UL << (cpu.maxphyaddr - cpu.reduction);
    CHECK_EQ(encryption_reach(&memory_encryption), reach);
    CHECK_EQ(memory_map_add(&boot.map, reach - PAGE_SIZE, reach, MEMORY_RAM), 0);
    CHECK_EQ(check_reach(&boot.map, &why), 0);
    CHECK_EQ(memory_map_add(&boot.map, reach, reach + PAGE_SIZE, MEMORY_RAM), 0);
    CHECK_EQ(memory_place(&boot, SHADOW_MIB, 2, &why), -ENOTSUP);
    CHECK(strstr(why.text, "wanted RAM below 0x") && strstr(why.text, "firmware's CPU settings"));
}

/* A machine changes what is static in Latch, so each has a process. */
static void on_each_host(void (*test)(void))
{
    static const struct host hosts[] = {
        {.maxphyaddr = 48, .cbit = 47, .reduction = 5}, /* Zen 1 and 2 */
        {.maxphyaddr = 52, .cbit = 51, .reduction = 6}, /* Zen 4 */
        {.maxphyaddr = 48, .cbit = 47, .reduction = 1},
        {.maxphyaddr = 40, .cbit = 36, .reduction = 4},
        {.maxphyaddr = 43, .cbit = 47, .reduction = 0}, /* a C-bit beyond MAXPHYADDR */
        {.cbit = 0},
    };

    for (unsigned int i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        int status = 1;
        const pid_t child = fork();

        if (child == 0) {
            machine_on(&hosts[i]);
            test();
            fflush(stdout);
            _exit(unit_failures != 0);
        }
        CHECK(waitpid(child, &status, 0) == child);
        CHECK_EQ(status, 0);
    }
}

static void a_cbit_that_is_no_use_is_refused(void)
{
    struct encryption e;

    for (unsigned int width = 0; width < 70; width++) {
        for (unsigned int cbit = 0; cbit < 64; cbit++) {
            for (unsigned int reduction = 0; reduction < 64; reduction++) {
                bool good = width <= 52 && cbit <= 51 && (int)(width - reduction) >= 32 &&
                            (int)cbit >= (int)(width - reduction);
                CHECK_EQ(encryption_init(&e, width, cbit, reduction), good ? 0 : -EINVAL);
                CHECK_EQ(e.cbit, good ? 1UL << cbit : 0);
                CHECK_EQ(e.start | e.end, 0);
            }
        }
    }
}

/* By each page, what the whole is. */
static void uniform_is_as_its_pages_are(void)
{
    const struct encryption e = {.cbit = 1UL << 47, .start = 3 * PAGE_SIZE, .end = 6 * PAGE_SIZE};

    for (uint64_t first = 0; first < 9; first++) {
        for (uint64_t pages = 1; pages < 9; pages++) {
            unsigned int encrypted = 0;

            for (uint64_t page = first; page < first + pages; page++)
                encrypted += encryption_bit(&e, hpa(page * PAGE_SIZE)) != 0;
            CHECK_EQ(encryption_uniform(&e, hpa(first * PAGE_SIZE), pages * PAGE_SIZE),
                     encrypted == 0 || encrypted == pages);
        }
    }
    CHECK_EQ(encryption_bit(NULL, hpa(3 * PAGE_SIZE)), 0);
    CHECK(encryption_uniform(NULL, hpa(0), RAM));
}

#define ON_EACH_HOST(test)                                                                         \
    static void test##_on_each_host(void)                                                          \
    {                                                                                              \
        on_each_host(test);                                                                        \
    }
ON_EACH_HOST(host_tables)
ON_EACH_HOST(root_for_a_starting_cpu)
ON_EACH_HOST(shadow_memory_given_up)
ON_EACH_HOST(nested_tables)
ON_EACH_HOST(no_way_around_by_the_cbit)
ON_EACH_HOST(shadow_tables)
ON_EACH_HOST(a_wrong_bit_shows)
ON_EACH_HOST(memory_beyond_the_width_is_refused)

int main(void)
{
    RUN(a_cbit_that_is_no_use_is_refused);
    RUN(uniform_is_as_its_pages_are);
    RUN(host_tables_on_each_host);
    RUN(root_for_a_starting_cpu_on_each_host);
    RUN(shadow_memory_given_up_on_each_host);
    RUN(nested_tables_on_each_host);
    RUN(no_way_around_by_the_cbit_on_each_host);
    RUN(shadow_tables_on_each_host);
    RUN(a_wrong_bit_shows_on_each_host);
    RUN(memory_beyond_the_width_is_refused_on_each_host);
    return unit_end();
}
