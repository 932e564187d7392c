# SPDX-License-Identifier: BSD-2-Clause
#
# build/latch.elf.

FOLDERS := boot kernel svm vmx mmu cpuid
OFFSET_SOURCES := $(wildcard $(FOLDERS:%=%/offsets.c))
KERNEL_C := $(filter-out $(OFFSET_SOURCES),$(wildcard $(FOLDERS:%=%/*.c)))
KERNEL_ASM := $(wildcard $(FOLDERS:%=%/*.asm))
KERNEL_OBJECTS := $(KERNEL_C:%=$(B)/kernel-obj/%.o) $(KERNEL_ASM:%=$(B)/kernel-obj/%.o) \
    $(B)/kernel-obj/$(GNULIB)/sha256.c.o
OFFSETS := $(OFFSET_SOURCES:%.c=$(B)/%.inc)

WARNINGS := -Wall -Wextra -Werror -Wmissing-prototypes -Wswitch-enum
# After the C library's headers: its <stdint.h> and <inttypes.h> belong together.
FREESTANDING = -nostdinc -isystem $(shell $(CC) -print-file-name=include)
KERNEL_FLAGS := -std=gnu17 -O2 -g -ffreestanding -fno-pic -fno-pie -mno-red-zone -mcmodel=kernel \
    -mgeneral-regs-only -fno-stack-protector -fcf-protection=none -fno-jump-tables \
    -fno-strict-aliasing -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections \
    $(WARNINGS)
KERNEL_INCLUDES := -I. -isystem $(NEWLIB_KERNEL)/include -isystem $(GNULIB) \
    -D__DYNAMIC_REENT__

# The calls by pointer in mmu/ lie on the way of an exit, where the guest may have trained the branch
# predictor.
RETPOLINE := -mindirect-branch=thunk-inline
BOOT_JUMPS := <(long_mode|move_to_top)>

$(B)/kernel-obj/%.c.o: %.c kernel/kernel.mk | $(NEWLIB_KERNEL)/stamp $(GNULIB)/stamp
	@mkdir -p $(@D)
	@$(CC) $(KERNEL_FLAGS) $(RETPOLINE) $(KERNEL_INCLUDES) $(FREESTANDING) -MMD -MP -c $< -o $@

# The quick exits run while the guest's RBP and R8 to R15 are in the registers, may use all others,
# and call nothing. Who calls them must expect that.
QUICK := $(B)/kernel-obj/svm/quick.c.o $(B)/kernel-obj/vmx/quick.c.o
QUICK_CALLERS := $(B)/kernel-obj/svm/timed.c.o $(B)/kernel-obj/vmx/timed.c.o
$(QUICK): KERNEL_FLAGS += -fcall-saved-r8 -fcall-saved-r9 -fcall-saved-r10 -fcall-saved-r11
$(QUICK) $(QUICK_CALLERS): KERNEL_FLAGS += -fcall-used-rbx

# NASM does not tell that it included offsets.inc, so each waits for them all.
$(B)/kernel-obj/%.asm.o: %.asm $(OFFSETS) | $(SETUP)
	@mkdir -p $(@D)
	@nasm -f elf64 -g -F dwarf -w+all -w-number-overflow \
	    -I./ -I$(B)/ -MD $(@:.o=.d) -MT $@ -MP $< -o $@

# NASM's view of C: offsets.c emits a line "->NAME VALUE" for each constant, and is not linked.
$(B)/%/offsets.inc: %/offsets.c | $(NEWLIB_KERNEL)/stamp
	@mkdir -p $(@D)
	@$(CC) $(KERNEL_FLAGS) $(KERNEL_INCLUDES) $(FREESTANDING) -MMD -MP -MT $@ -S $< -o $(@:.inc=.s)
	@sed -n 's/^->\([A-Za-z0-9_]*\) \$$\{0,1\}\(-\{0,1\}[0-9]*\)$$/%define \1 \2/p' \
	    $(@:.inc=.s) > $@

# Latch neither saves nor has the guest's FPU and vector state, so no instruction may touch it.
FPU := %([xyz]mm[0-9]|mm[0-7]|st\b)|[[:space:]](f(n?st|ld|i?add|i?sub|i?mul|i?div|i?com|i?st|ild)|emms)

KERNEL_LINK := ld -nostdlib -static -z max-page-size=4096 -z noexecstack --gc-sections \
    --fatal-warnings --defsym=_svfprintf_r=_svfiprintf_r -T kernel/latch.ld

# Linked under another name, so that what stands under its own has passed the checks.
$(B)/latch.elf: $(KERNEL_OBJECTS) kernel/latch.ld | $(NEWLIB_KERNEL)/stamp
	@$(KERNEL_LINK) -Map=$(B)/latch.map -o $@.new \
	    $(KERNEL_OBJECTS) $(NEWLIB_KERNEL)/lib/libck.a
	@! objdump -d $@.new | grep -E '$(FPU)' || \
	    { echo "$@: the FPU or vector instructions above must not be in Latch" >&2; false; }
	@! objdump -d $@.new | awk '/>:$$/ {f = $$2} /(call|jmp) +\*/ && f !~ /$(BOOT_JUMPS)/ {print f, $$0}' \
	    | grep . || { echo "$@: the indirect branches above are not retpolines" >&2; false; }
	@! nm -u $(QUICK) | grep ' U ' || \
	    { echo "$@: a quick exit must not call the functions above" >&2; false; }
	@grub-file --is-x86-multiboot2 $@.new || { echo "$@: no multiboot2 header" >&2; false; }
	@mv $@.new $@
