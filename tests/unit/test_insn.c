/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instruction decoder, against the assembler: forms times memory operands are assembled here
 * for each mode, and lengths and operands compared. Then what an assembler does not write.
 */
#include "kernel/insn.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NONE         INSN_NO_REGISTER

enum { IN_16 = 1, IN_32 = 2, IN_64 = 4, IN_ALL = 7 };

static const struct mode {
    enum insn_mode mode;
    unsigned bit;
    const char *head;
    const char *option;
} modes[] = {
    {INSN_MODE_16, IN_16, ".code16", "--32"},
    {INSN_MODE_32, IN_32, ".code32", "--32"},
    {INSN_MODE_64, IN_64, ".code64", "--64"},
};

/* A memory operand and what the decoder has to make of it. */
static const struct operand {
    const char *text;
    unsigned modes;
    uint8_t base, index, scale;
    int64_t displacement;
    enum insn_segment segment;
    uint8_t address_size;
    bool rip_relative;
} operands[] = {
    {"(%bx,%si)", IN_16 | IN_32, 3, 6, 1, 0, INSN_DS, 2, false},
    {"(%bx,%di)", IN_16 | IN_32, 3, 7, 1, 0, INSN_DS, 2, false},
    {"(%bp,%si)", IN_16 | IN_32, 5, 6, 1, 0, INSN_SS, 2, false},
    {"(%bp,%di)", IN_16 | IN_32, 5, 7, 1, 0, INSN_SS, 2, false},
    {"(%si)", IN_16 | IN_32, 6, NONE, 1, 0, INSN_DS, 2, false},
    {"(%di)", IN_16 | IN_32, 7, NONE, 1, 0, INSN_DS, 2, false},
    {"(%bx)", IN_16 | IN_32, 3, NONE, 1, 0, INSN_DS, 2, false},
    {"(%bp)", IN_16 | IN_32, 5, NONE, 1, 0, INSN_SS, 2, false},
    {"-4(%bp)", IN_16 | IN_32, 5, NONE, 1, -4, INSN_SS, 2, false},
    {"0x1234(%bp,%di)", IN_16 | IN_32, 5, 7, 1, 0x1234, INSN_SS, 2, false},
    {"-0x200(%si)", IN_16 | IN_32, 6, NONE, 1, -0x200, INSN_DS, 2, false},
    {"%es:5(%bx)", IN_16 | IN_32, 3, NONE, 1, 5, INSN_ES, 2, false},
    {"0x1234", IN_16, NONE, NONE, 1, 0x1234, INSN_DS, 2, false},
    {"0x12345678", IN_32, NONE, NONE, 1, 0x12345678, INSN_DS, 4, false},
    {"(%eax)", IN_ALL, 0, NONE, 1, 0, INSN_DS, 4, false},
    {"(%esp)", IN_ALL, 4, NONE, 1, 0, INSN_SS, 4, false},
    {"(%ebp)", IN_ALL, 5, NONE, 1, 0, INSN_SS, 4, false},
    {"8(%ebp,%eax)", IN_ALL, 5, 0, 1, 8, INSN_SS, 4, false},
    {"-8(%esp,%edx,2)", IN_ALL, 4, 2, 2, -8, INSN_SS, 4, false},
    {"(%eax,%ecx,4)", IN_ALL, 0, 1, 4, 0, INSN_DS, 4, false},
    {"0x1000(,%edi,8)", IN_ALL, NONE, 7, 8, 0x1000, INSN_DS, 4, false},
    {"0x12345678(%esi)", IN_ALL, 6, NONE, 1, 0x12345678, INSN_DS, 4, false},
    {"%gs:(%ebp)", IN_ALL, 5, NONE, 1, 0, INSN_GS, 4, false},
    {"%cs:(%esi)", IN_16 | IN_32, 6, NONE, 1, 0, INSN_CS, 4, false},
    {"(%rax)", IN_64, 0, NONE, 1, 0, INSN_DS, 8, false},
    {"(%rsp)", IN_64, 4, NONE, 1, 0, INSN_SS, 8, false},
    {"(%rbp)", IN_64, 5, NONE, 1, 0, INSN_SS, 8, false},
    {"(%r12)", IN_64, 12, NONE, 1, 0, INSN_DS, 8, false},
    {"(%r13)", IN_64, 13, NONE, 1, 0, INSN_DS, 8, false},
    {"8(%r13)", IN_64, 13, NONE, 1, 8, INSN_DS, 8, false},
    {"(%r8,%r12,8)", IN_64, 8, 12, 8, 0, INSN_DS, 8, false},
    {"-8(%rsp,%rdx,2)", IN_64, 4, 2, 2, -8, INSN_SS, 8, false},
    {"-0x1000(%r14)", IN_64, 14, NONE, 1, -0x1000, INSN_DS, 8, false},
    {"0x12345678", IN_64, NONE, NONE, 1, 0x12345678, INSN_DS, 8, false},
    {"-16", IN_64, NONE, NONE, 1, -16, INSN_DS, 8, false},
    {"0x12345678(%rip)", IN_64, NONE, NONE, 1, 0x12345678, INSN_DS, 8, true},
    {"-4(%eip)", IN_64, NONE, NONE, 1, -4, INSN_DS, 4, true},
    {"0x1000(,%r12,8)", IN_64, NONE, 12, 8, 0x1000, INSN_DS, 8, false},
    {"8(%r9d,%r10d,2)", IN_64, 9, 10, 2, 8, INSN_DS, 4, false},
    {"%fs:0x28(%rax)", IN_64, 0, NONE, 1, 0x28, INSN_FS, 8, false},
};

/* '@' stands for each memory operand of the mode in turn. reg 0xff: there is none. */
struct form {
    const char *text;
    enum insn_kind kind;
    unsigned modes;
    uint8_t rm_size, reg_size, reg;
    bool to_rm;
};

#define MOVE  INSN_MOV
#define OTHER INSN_NOT_A_MOVE

static const struct form forms[] = {
    {"movb %cl,@", MOVE, IN_ALL, 1, 1, 1, true},
    {"movw %bp,@", MOVE, IN_ALL, 2, 2, 5, true},
    {"movl %esi,@", MOVE, IN_ALL, 4, 4, 6, true},
    {"movq %r9,@", MOVE, IN_64, 8, 8, 9, true},
    {"movb @,%dl", MOVE, IN_ALL, 1, 1, 2, false},
    {"movw @,%bx", MOVE, IN_ALL, 2, 2, 3, false},
    {"movl @,%edi", MOVE, IN_ALL, 4, 4, 7, false},
    {"movq @,%r15", MOVE, IN_64, 8, 8, 15, false},
    {"movb @,%sil", MOVE, IN_64, 1, 1, 6, false},
    {"movb @,%r11b", MOVE, IN_64, 1, 1, 11, false},
    {"movb $0x12,@", MOVE, IN_ALL, 1, 0, NONE, true},
    {"movw $0x1234,@", MOVE, IN_ALL, 2, 0, NONE, true},
    {"movl $0x12345678,@", MOVE, IN_ALL, 4, 0, NONE, true},
    {"movq $-2,@", MOVE, IN_64, 8, 0, NONE, true},
    {"movnti %ecx,@", MOVE, IN_ALL, 4, 4, 1, true},
    {"movnti %rcx,@", MOVE, IN_64, 8, 8, 1, true},
    {"movzbw @,%cx", INSN_MOVZX, IN_ALL, 1, 2, 1, false},
    {"movzbl @,%ecx", INSN_MOVZX, IN_ALL, 1, 4, 1, false},
    {"movzwl @,%ecx", INSN_MOVZX, IN_ALL, 2, 4, 1, false},
    {"movzwq @,%r10", INSN_MOVZX, IN_64, 2, 8, 10, false},
    {"movsbl @,%ecx", INSN_MOVSX, IN_ALL, 1, 4, 1, false},
    {"movswl @,%ecx", INSN_MOVSX, IN_ALL, 2, 4, 1, false},
    {"movslq @,%rcx", INSN_MOVSX, IN_64, 4, 8, 1, false},
    {"addb %cl,@", OTHER, IN_ALL, 1, 1, 1, true},
    {"orl %ecx,@", OTHER, IN_ALL, 4, 4, 1, true},
    {"adcw @,%cx", OTHER, IN_ALL, 2, 2, 1, false},
    {"xorl @,%ecx", OTHER, IN_ALL, 4, 4, 1, false},
    {"cmpb @,%cl", OTHER, IN_ALL, 1, 1, 1, false},
    {"subq @,%r8", OTHER, IN_64, 8, 8, 8, false},
    {"andb $1,@", OTHER, IN_ALL, 1, 0, NONE, true},
    {"addw $0x1234,@", OTHER, IN_ALL, 2, 0, NONE, true},
    {"andl $0x12345678,@", OTHER, IN_ALL, 4, 0, NONE, true},
    {"orq $0x12345678,@", OTHER, IN_64, 8, 0, NONE, true},
    {"cmpl $5,@", OTHER, IN_ALL, 4, 0, NONE, true},
    {"cmpw $-5,@", OTHER, IN_ALL, 2, 0, NONE, true},
    {"testb %cl,@", OTHER, IN_ALL, 1, 1, 1, false},
    {"testl %ecx,@", OTHER, IN_ALL, 4, 4, 1, false},
    {"testb $1,@", OTHER, IN_ALL, 1, 0, NONE, false},
    {"testw $0x1234,@", OTHER, IN_ALL, 2, 0, NONE, false},
    {"testl $0x12345678,@", OTHER, IN_ALL, 4, 0, NONE, false},
    {"notl @", OTHER, IN_ALL, 4, 0, NONE, true},
    {"negb @", OTHER, IN_ALL, 1, 0, NONE, true},
    {"mull @", OTHER, IN_ALL, 4, 0, NONE, false},
    {"idivw @", OTHER, IN_ALL, 2, 0, NONE, false},
    {"incl @", OTHER, IN_ALL, 4, 0, NONE, true},
    {"decb @", OTHER, IN_ALL, 1, 0, NONE, true},
    {"shll $3,@", OTHER, IN_ALL, 4, 0, NONE, true},
    {"shrb %cl,@", OTHER, IN_ALL, 1, 0, NONE, true},
    {"imull $0x1234567,@,%ecx", OTHER, IN_ALL, 4, 4, 1, false},
    {"imulw $3,@,%cx", OTHER, IN_ALL, 2, 2, 1, false},
    {"xchgl %ecx,@", OTHER, IN_ALL, 4, 4, 1, true},
    {"xchgb %cl,@", OTHER, IN_ALL, 1, 1, 1, true},
    {"lock cmpxchgl %ecx,@", OTHER, IN_ALL, 4, 4, 1, true},
    {"lock xaddw %cx,@", OTHER, IN_ALL, 2, 2, 1, true},
    {"cmpxchg8b @", OTHER, IN_ALL, 8, 0, NONE, true},
    {"cmpxchg16b @", OTHER, IN_64, 16, 0, NONE, true},
    {"btl $5,@", OTHER, IN_ALL, 4, 0, NONE, false},
    {"lock btsl $5,@", OTHER, IN_ALL, 4, 0, NONE, true},
    {"btcw %cx,@", OTHER, IN_ALL, 2, 2, 1, true},
    {"invlpg @", INSN_INVLPG, IN_ALL, 0, 0, NONE, false},
    {"sgdt @", INSN_SGDT, IN_16 | IN_32, 6, 0, NONE, true},
    {"sgdt @", INSN_SGDT, IN_64, 10, 0, NONE, true},
    {"lidt @", INSN_LIDT, IN_16 | IN_32, 6, 0, NONE, false},
    {"lidt @", INSN_LIDT, IN_64, 10, 0, NONE, false},
    {"smsw @", INSN_SMSW, IN_ALL, 2, 0, NONE, true},
    {"lmsw @", INSN_LMSW, IN_ALL, 2, 0, NONE, false},
    {"sldt @", INSN_SLDT, IN_ALL, 2, 0, NONE, true},
    {"ltr @", INSN_LTR, IN_ALL, 2, 0, NONE, false},
    {"vmptrld @", INSN_VMPTRLD, IN_ALL, 8, 0, NONE, false},
    {"vmptrst @", INSN_VMPTRST, IN_ALL, 8, 0, NONE, false},
    {"vmclear @", INSN_VMCLEAR, IN_ALL, 8, 0, NONE, false},
    {"vmxon @", INSN_VMXON, IN_ALL, 8, 0, NONE, false},
    {"vmread %rcx,@", INSN_VMREAD, IN_64, 8, 8, 1, true},
    {"vmread %ecx,@", INSN_VMREAD, IN_32, 4, 4, 1, true},
    {"vmwrite @,%r9", INSN_VMWRITE, IN_64, 8, 8, 9, false},
    {"invept @,%rcx", INSN_INVEPT, IN_64, 16, 8, 1, false},
    {"invvpid @,%ecx", INSN_INVVPID, IN_32, 16, 4, 1, false},
    {"invpcid @,%r8", INSN_INVPCID, IN_64, 16, 8, 8, false},
    {"movabs %al,0x1122334455667788", MOVE, IN_64, 1, 1, 0, true},
    {"movabs 0x1122334455667788,%rax", MOVE, IN_64, 8, 8, 0, false},
    {"addr32 movabs 0x11223344,%eax", MOVE, IN_64, 4, 4, 0, false},
    {"mov %ax,0x1234", MOVE, IN_16 | IN_32, 2, 2, 0, true},
    {"mov 0x1234,%eax", MOVE, IN_16 | IN_32, 4, 4, 0, false},
    {"movb %ah,%bl", MOVE, IN_ALL, 1, 1, 0, true},
    {"movw %cx,%dx", MOVE, IN_ALL, 2, 2, 1, true},
    {"movl %ecx,%edx", MOVE, IN_ALL, 4, 4, 1, true},
    {"addb $5,%al", OTHER, IN_ALL, 0, 1, 0, false},
    {"orw $0x1234,%ax", OTHER, IN_ALL, 0, 2, 0, false},
    {"subl $0x12345678,%eax", OTHER, IN_ALL, 0, 4, 0, false},
    {"cmpq $0x12345678,%rax", OTHER, IN_64, 0, 8, 0, false},
    {"testb $5,%al", OTHER, IN_ALL, 0, 1, 0, false},
    {"testl $0x12345678,%eax", OTHER, IN_ALL, 0, 4, 0, false},
    {"movsb", INSN_STRING, IN_ALL, 1, 0, NONE, false},
    {"rep stosl", INSN_STRING, IN_ALL, 4, 0, NONE, false},
    {"repne scasw", INSN_STRING, IN_ALL, 2, 0, NONE, false},
    {"rep movsq", INSN_STRING, IN_64, 8, 0, NONE, false},
    {"cpuid", INSN_CPUID, IN_ALL, 0, 0, NONE, false},
    {"rdmsr", INSN_RDMSR, IN_ALL, 0, 0, NONE, false},
    {"wrmsr", INSN_WRMSR, IN_ALL, 0, 0, NONE, false},
    {"hlt", INSN_HLT, IN_ALL, 0, 0, NONE, false},
    {"pause", INSN_PAUSE, IN_ALL, 0, 0, NONE, false},
    {"rdtsc", INSN_RDTSC, IN_ALL, 0, 0, NONE, false},
    {"rdtscp", INSN_RDTSCP, IN_ALL, 0, 0, NONE, false},
    {"rdpmc", INSN_RDPMC, IN_ALL, 0, 0, NONE, false},
    {"xsetbv", INSN_XSETBV, IN_ALL, 0, 0, NONE, false},
    {"xgetbv", INSN_XGETBV, IN_ALL, 0, 0, NONE, false},
    {"invd", INSN_INVD, IN_ALL, 0, 0, NONE, false},
    {"wbinvd", INSN_WBINVD, IN_ALL, 0, 0, NONE, false},
    {"rsm", INSN_RSM, IN_ALL, 0, 0, NONE, false},
    {"monitor", INSN_MONITOR, IN_ALL, 0, 0, NONE, false},
    {"mwait", INSN_MWAIT, IN_ALL, 0, 0, NONE, false},
    {"monitorx", INSN_MONITORX, IN_ALL, 0, 0, NONE, false},
    {"mwaitx", INSN_MWAITX, IN_ALL, 0, 0, NONE, false},
    {"clts", INSN_CLTS, IN_ALL, 0, 0, NONE, false},
    {"clac", INSN_CLAC, IN_ALL, 0, 0, NONE, false},
    {"stac", INSN_STAC, IN_ALL, 0, 0, NONE, false},
    {"swapgs", INSN_SWAPGS, IN_64, 0, 0, NONE, false},
    {"smsw %cx", INSN_SMSW, IN_ALL, 2, 0, NONE, true},
    {"smsw %ecx", INSN_SMSW, IN_ALL, 4, 0, NONE, true},
    {"smsw %r9", INSN_SMSW, IN_64, 8, 0, NONE, true},
    {"lmsw %cx", INSN_LMSW, IN_ALL, 2, 0, NONE, false},
    {"mov %cr0,%ecx", INSN_MOV_FROM_CR, IN_16 | IN_32, 4, 4, 0, true},
    {"mov %ecx,%cr4", INSN_MOV_TO_CR, IN_16 | IN_32, 4, 4, 4, false},
    {"mov %r9,%cr3", INSN_MOV_TO_CR, IN_64, 8, 8, 3, false},
    {"mov %cr8,%rax", INSN_MOV_FROM_CR, IN_64, 8, 8, 8, true},
    {"mov %db7,%rcx", INSN_MOV_FROM_DR, IN_64, 8, 8, 7, true},
    {"mov %ecx,%db6", INSN_MOV_TO_DR, IN_16 | IN_32, 4, 4, 6, false},
    {"pushf", INSN_PUSHF, IN_ALL, 0, 0, NONE, false},
    {"popf", INSN_POPF, IN_ALL, 0, 0, NONE, false},
    {"cli", INSN_CLI, IN_ALL, 0, 0, NONE, false},
    {"sti", INSN_STI, IN_ALL, 0, 0, NONE, false},
    {"iretl", INSN_IRET, IN_ALL, 0, 0, NONE, false},
    {"iretq", INSN_IRET, IN_64, 0, 0, NONE, false},
    {"int $0x80", INSN_INT, IN_ALL, 0, 0, NONE, false},
    {"int3", INSN_INT3, IN_ALL, 0, 0, NONE, false},
    {"int1", INSN_INT1, IN_ALL, 0, 0, NONE, false},
    {"into", INSN_INTO, IN_16 | IN_32, 0, 0, NONE, false},
    {"inb $0x60,%al", INSN_IN, IN_ALL, 1, 1, 0, false},
    {"inw $0x60,%ax", INSN_IN, IN_ALL, 2, 2, 0, false},
    {"inl %dx,%eax", INSN_IN, IN_ALL, 4, 4, 0, false},
    {"outb %al,$0x80", INSN_OUT, IN_ALL, 1, 1, 0, true},
    {"outw %ax,%dx", INSN_OUT, IN_ALL, 2, 2, 0, true},
    {"outl %eax,$0xf4", INSN_OUT, IN_ALL, 4, 4, 0, true},
    {"vmcall", INSN_VMCALL, IN_ALL, 0, 0, NONE, false},
    {"vmlaunch", INSN_VMLAUNCH, IN_ALL, 0, 0, NONE, false},
    {"vmresume", INSN_VMRESUME, IN_ALL, 0, 0, NONE, false},
    {"vmxoff", INSN_VMXOFF, IN_ALL, 0, 0, NONE, false},
    {"vmfunc", INSN_VMFUNC, IN_ALL, 0, 0, NONE, false},
    {"vmrun", INSN_VMRUN, IN_ALL, 0, 0, NONE, false},
    {"vmmcall", INSN_VMMCALL, IN_ALL, 0, 0, NONE, false},
    {"vmload", INSN_VMLOAD, IN_ALL, 0, 0, NONE, false},
    {"vmsave", INSN_VMSAVE, IN_ALL, 0, 0, NONE, false},
    {"stgi", INSN_STGI, IN_ALL, 0, 0, NONE, false},
    {"clgi", INSN_CLGI, IN_ALL, 0, 0, NONE, false},
    {"skinit", INSN_SKINIT, IN_ALL, 0, 0, NONE, false},
    {"invlpga", INSN_INVLPGA, IN_ALL, 0, 0, NONE, false},
};

struct sample {
    const struct form *form;
    const struct operand *operand;
};

#define SAMPLES_MAX 8192
static struct sample samples[SAMPLES_MAX];
static uint8_t code[SAMPLES_MAX * INSN_LENGTH_MAX];
static uint8_t lengths[SAMPLES_MAX];
static char directory[] = "/tmp/latch-insn-XXXXXX";

static void emit(FILE *file, const struct form *form, const struct operand *operand)
{
    const char *at = strchr(form->text, '@');
    fprintf(file, "1: ");
    if (at != NULL) {
        fprintf(file, "%.*s%s%s\n", (int)(at - form->text), form->text, operand->text, at + 1);
    } else {
        fprintf(file, "%s\n", form->text);
    }
    fprintf(file, "2: .pushsection .lengths; .byte 2b - 1b; .popsection\n");
}

static size_t write_samples(const struct mode *mode)
{
    char path[64];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/list.s", directory);
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        return 0;
    }
    fprintf(file, ".text\n%s\n", mode->head);
    for (size_t f = 0; f < COUNT(forms); f++) {
        bool memory = strchr(forms[f].text, '@') != NULL;
        for (size_t o = 0; o < (memory ? COUNT(operands) : 1); o++) {
            if (!(forms[f].modes & mode->bit) || (memory && !(operands[o].modes & mode->bit))) {
                continue;
            }
            samples[count] = (struct sample){&forms[f], memory ? &operands[o] : NULL};
            emit(file, &forms[f], &operands[o]);
            count++;
        }
    }
    fclose(file);
    return count;
}

static size_t read_section(const char *section, uint8_t *bytes, size_t size)
{
    char command[256];
    char path[64];
    snprintf(path, sizeof path, "%s/section", directory);
    snprintf(command, sizeof command,
             "objcopy -O binary --set-section-flags %s=alloc -j %s %s/list.o %s", section, section,
             directory, path);
    FILE *file = system(command) == 0 ? fopen(path, "r") : NULL;
    if (file == NULL) {
        return 0;
    }
    size_t got = fread(bytes, 1, size, file);
    fclose(file);
    return got;
}

static void check_operand(const struct insn *insn, const struct operand *operand)
{
    CHECK_EQ(insn->memory, operand != NULL);
    if (operand != NULL) {
        CHECK_EQ(insn->base, operand->base);
        CHECK_EQ(insn->index, operand->index);
        CHECK_EQ(insn->scale, operand->scale);
        CHECK_EQ(insn->displacement, operand->displacement);
        CHECK_EQ(insn->segment, operand->segment);
        CHECK_EQ(insn->address_size, operand->address_size);
        CHECK_EQ(insn->rip_relative, operand->rip_relative);
    }
}

/* Every shorter piece asks for more, and a prefix that means nothing adds one. */
static void check_pieces(const uint8_t *bytes, size_t length, enum insn_mode mode)
{
    uint8_t padded[INSN_LENGTH_MAX + 2];
    struct insn insn;
    for (size_t n = 0; n < length; n++) {
        CHECK_EQ(insn_decode(bytes, n, mode, &insn), -ENODATA);
    }
    memset(padded, 0x90, sizeof padded);
    padded[0] = 0x3e;
    memcpy(padded + 1, bytes, length);
    CHECK_EQ(insn_decode(padded, sizeof padded, mode, &insn), 0);
    CHECK_EQ(insn.length, length + 1);
}

static void check_sample(const struct sample *sample, const uint8_t *bytes, size_t length,
                         enum insn_mode mode)
{
    const struct form *form = sample->form;
    unsigned long failures = unit_failures;
    struct insn insn;

    CHECK_EQ(insn_decode(bytes, length, mode, &insn), 0);
    CHECK_EQ(insn.length, length);
    CHECK_EQ(insn.kind, form->kind);
    CHECK_EQ(insn.rm_size, form->rm_size);
    CHECK_EQ(insn.reg_size, form->reg_size);
    CHECK_EQ(insn.reg, form->reg);
    CHECK_EQ(insn.to_rm, form->to_rm);
    if (sample->operand != NULL) {
        check_operand(&insn, sample->operand);
    }
    check_pieces(bytes, length, mode);
    if (unit_failures != failures) {
        printf("#   in %u-bit \"%s\" with %s\n", (unsigned)mode, form->text,
               sample->operand != NULL ? sample->operand->text : "no memory");
    }
}

static void check_mode(const struct mode *mode)
{
    char command[256];
    size_t count = write_samples(mode);
    snprintf(command, sizeof command, "as %s -o %s/list.o %s/list.s", mode->option, directory,
             directory);
    CHECK(count > 400 && count < SAMPLES_MAX);
    CHECK_EQ(system(command), 0);
    CHECK_EQ(read_section(".lengths", lengths, sizeof lengths), count);
    size_t size = read_section(".text", code, sizeof code);
    size_t at = 0;
    for (size_t i = 0; i < count && at + lengths[i] <= size; i++) {
        check_sample(&samples[i], code + at, lengths[i], mode->mode);
        at += lengths[i];
    }
    CHECK_EQ(at, size);
}

static void against_the_assembler(void)
{
    char command[64];
    CHECK(mkdtemp(directory) != NULL);
    for (size_t i = 0; i < COUNT(modes); i++) {
        check_mode(&modes[i]);
    }
    snprintf(command, sizeof command, "rm -r %s", directory);
    CHECK_EQ(system(command), 0);
}

/* Bytes as a string literal. */
#define DECODE(bytes, mode, insn)                                                                  \
    insn_decode((const uint8_t *)(bytes), sizeof(bytes) - 1, mode, insn)

static void prefixes_and_rex(void)
{
    struct insn insn;
    /* REX before another prefix is void; the last 67 and 66 count once. */
    CHECK_EQ(DECODE("\x48\x66\x89\x08", INSN_MODE_64, &insn), 0);
    CHECK_EQ(insn.operand_size, 2);
    CHECK_EQ(DECODE("\x66\x66\x67\x48\x89\x08", INSN_MODE_64, &insn), 0);
    CHECK_EQ(insn.operand_size, 8);
    CHECK_EQ(insn.address_size, 4);
    CHECK_EQ(insn.length, 6);
    /* In 64-bit mode CS, DS, ES and SS do nothing, and do not undo FS. */
    CHECK_EQ(DECODE("\x64\x2e\x8b\x00", INSN_MODE_64, &insn), 0);
    CHECK_EQ(insn.segment, INSN_FS);
    CHECK_EQ(DECODE("\x64\x2e\x8b\x00", INSN_MODE_32, &insn), 0);
    CHECK_EQ(insn.segment, INSN_CS);
    CHECK_EQ(DECODE("\x36\x8b\x00", INSN_MODE_64, &insn), 0);
    CHECK_EQ(insn.segment, INSN_DS);
    CHECK_EQ(DECODE("\xf3\xf0\xf2\x0f\xa2", INSN_MODE_32, &insn), 0);
    CHECK(insn.lock && insn.rep && insn.repne);
    CHECK_EQ(insn.length, 5);
    /* Without REX 4..7 are AH..BH, with any REX SPL..DIL. */
    CHECK_EQ(DECODE("\x88\x20", INSN_MODE_64, &insn), 0);
    CHECK(insn.reg == 0 && insn.reg_high);
    CHECK_EQ(DECODE("\x40\x88\x20", INSN_MODE_64, &insn), 0);
    CHECK(insn.reg == 4 && !insn.reg_high);
    CHECK_EQ(DECODE("\x88\xe7", INSN_MODE_32, &insn), 0);
    CHECK(insn.reg == 0 && insn.reg_high && insn.rm == 3 && insn.rm_high && !insn.memory);
}

static void length_limit(void)
{
    uint8_t bytes[20];
    struct insn insn;
    memset(bytes, 0x66, sizeof bytes);
    bytes[13] = 0x0f;
    bytes[14] = 0xa2;
    CHECK_EQ(insn_decode(bytes, sizeof bytes, INSN_MODE_64, &insn), 0);
    CHECK_EQ(insn.length, 15);
    bytes[13] = 0x66;
    bytes[14] = 0x0f;
    bytes[15] = 0xa2;
    CHECK_EQ(insn_decode(bytes, sizeof bytes, INSN_MODE_64, &insn), -EINVAL);
    CHECK_EQ(insn_decode(bytes, 14, INSN_MODE_64, &insn), -ENODATA);
    CHECK_EQ(insn_decode(bytes, 15, INSN_MODE_64, &insn), -EINVAL);
    CHECK_EQ(insn_decode(bytes, 0, INSN_MODE_64, &insn), -ENODATA);
}

static void control_registers(void)
{
    struct insn insn;
    /* ModRM.mod is ignored: no SIB byte and no displacement follow. */
    CHECK_EQ(DECODE("\x0f\x22\x04", INSN_MODE_32, &insn), 0);
    CHECK(insn.length == 3 && !insn.memory && insn.rm == 4 && insn.reg == 0);
    CHECK_EQ(DECODE("\x0f\x20\x85", INSN_MODE_64, &insn), 0);
    CHECK_EQ(insn.length, 3);
    CHECK_EQ(DECODE("\xf0\x0f\x20\xc1", INSN_MODE_32, &insn), 0);
    CHECK(insn.kind == INSN_MOV_FROM_CR && insn.reg == 8 && insn.rm == 1);
    CHECK_EQ(DECODE("\x44\x0f\x22\xc1", INSN_MODE_64, &insn), 0);
    CHECK(insn.kind == INSN_MOV_TO_CR && insn.reg == 8 && insn.rm_size == 8);
}

static void ports_and_immediates(void)
{
    struct insn insn;
    CHECK_EQ(DECODE("\xe6\xf4", INSN_MODE_64, &insn), 0);
    CHECK(insn.has_immediate && insn.immediate == 0xf4 && insn.to_rm);
    CHECK_EQ(DECODE("\x48\xef", INSN_MODE_64, &insn), 0);
    CHECK(!insn.has_immediate && insn.rm_size == 4);
    CHECK_EQ(DECODE("\xf3\x65\x6e", INSN_MODE_32, &insn), 0);
    CHECK(insn.kind == INSN_OUTS && insn.rep && insn.segment == INSN_GS && insn.base == 6);
    CHECK_EQ(DECODE("\x65\x66\x6d", INSN_MODE_64, &insn), 0);
    CHECK(insn.kind == INSN_INS && insn.segment == INSN_ES && insn.base == 7 && insn.rm_size == 2);
    CHECK_EQ(DECODE("\xcd\xff", INSN_MODE_16, &insn), 0);
    CHECK_EQ(insn.immediate, 0xff);
    CHECK_EQ(DECODE("\x48\xc7\x00\xfe\xff\xff\xff", INSN_MODE_64, &insn), 0);
    CHECK_EQ(insn.immediate, (uint64_t)-2);
    CHECK_EQ(DECODE("\x83\x38\x80", INSN_MODE_32, &insn), 0);
    CHECK_EQ(insn.immediate, (uint64_t)-128);
}

static void unknown(void)
{
    struct insn insn;
    CHECK_EQ(DECODE("\x90", INSN_MODE_64, &insn), -EOPNOTSUPP);         /* NOP */
    CHECK_EQ(DECODE("\xe8\0\0\0\0", INSN_MODE_64, &insn), -EOPNOTSUPP); /* CALL */
    CHECK_EQ(DECODE("\x0f\x0b", INSN_MODE_64, &insn), -EOPNOTSUPP);     /* UD2 */
    CHECK_EQ(DECODE("\xce", INSN_MODE_64, &insn), -EOPNOTSUPP);         /* INTO */
    CHECK_EQ(DECODE("\xc7\x08\0\0\0\0", INSN_MODE_64, &insn), -EOPNOTSUPP);
    CHECK_EQ(DECODE("\xc5\xf8\x77", INSN_MODE_64, &insn), -EOPNOTSUPP); /* VZEROUPPER */
    CHECK_EQ(DECODE("\x0f\x01\xc0", INSN_MODE_64, &insn), -EOPNOTSUPP); /* ENCLV */
    CHECK_EQ(DECODE("\x0f\x01\xf8", INSN_MODE_32, &insn), -EOPNOTSUPP); /* SWAPGS */
    CHECK_EQ(DECODE("\x0f\x38\x80\x00", INSN_MODE_64, &insn), -EOPNOTSUPP);
    CHECK_EQ(DECODE("\xf3\x0f\xc7\xf8", INSN_MODE_64, &insn), -EOPNOTSUPP); /* RDPID */
}

static void offsets(void)
{
    uint64_t gpr[16] = {0};
    struct insn insn;
    gpr[3] = 0xfffe;
    gpr[6] = 0x10;
    CHECK_EQ(DECODE("\x8b\x40\x02", INSN_MODE_16, &insn), 0); /* 2(%bx,%si) */
    CHECK_EQ(insn_offset(&insn, gpr, 0), 0x10);
    gpr[0] = 0xfffffffffffffff0;
    CHECK_EQ(DECODE("\x8b\x40\x20", INSN_MODE_64, &insn), 0);
    CHECK_EQ(insn_offset(&insn, gpr, 0), 0x10);
    CHECK_EQ(DECODE("\x67\x8b\x40\xf0", INSN_MODE_64, &insn), 0);
    CHECK_EQ(insn_offset(&insn, gpr, 0), 0xffffffe0);
    CHECK_EQ(DECODE("\x8b\x05\xfc\xff\xff\xff", INSN_MODE_64, &insn), 0);
    CHECK_EQ(insn_offset(&insn, gpr, 0x1006), 0x1002);
    gpr[1] = 3;
    CHECK_EQ(DECODE("\x8b\x04\xcd\x00\x10\x00\x00", INSN_MODE_64, &insn), 0);
    CHECK_EQ(insn_offset(&insn, gpr, 0), 0x1018);
    CHECK_EQ(DECODE("\xa1\x00\x00\x00\xf0", INSN_MODE_32, &insn), 0);
    CHECK_EQ(insn_offset(&insn, gpr, 0), 0xf0000000);
}

static void registers(void)
{
    uint64_t gpr[16] = {0x1122334455667788};
    CHECK_EQ(insn_read_register(gpr, 0, 1, false), 0x88);
    CHECK_EQ(insn_read_register(gpr, 0, 1, true), 0x77);
    CHECK_EQ(insn_read_register(gpr, 0, 2, false), 0x7788);
    CHECK_EQ(insn_read_register(gpr, 0, 4, false), 0x55667788);
    CHECK_EQ(insn_read_register(gpr, 0, 8, false), 0x1122334455667788);
    insn_write_register(gpr, 0, 1, true, 0x1ff);
    CHECK_EQ(gpr[0], 0x112233445566ff88);
    insn_write_register(gpr, 0, 1, false, 0x111);
    CHECK_EQ(gpr[0], 0x112233445566ff11);
    insn_write_register(gpr, 0, 2, false, 0xabcd1234);
    CHECK_EQ(gpr[0], 0x1122334455661234);
    insn_write_register(gpr, 0, 4, false, 0x99999999aaaaaaaa);
    CHECK_EQ(gpr[0], 0xaaaaaaaa);
    insn_write_register(gpr, 0, 8, false, 0x99999999aaaaaaaa);
    CHECK_EQ(gpr[0], 0x99999999aaaaaaaa);
}

int main(void)
{
    RUN(against_the_assembler);
    RUN(prefixes_and_rex);
    RUN(length_limit);
    RUN(control_registers);
    RUN(ports_and_immediates);
    RUN(unknown);
    RUN(offsets);
    RUN(registers);
    return unit_end();
}
