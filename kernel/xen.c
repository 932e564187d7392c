/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/xen.h"
#include "kernel/backend.h"
#include "kernel/tsc.h"
#include "kernel/vm.h"
#include "kernel/x86.h"
#include <errno.h>
#include <string.h>

#define PAGE_NUMBERS   PAGE_OFFSET_MASK /* of the MSR's value: which page of several; there is one */
#define STUB_SIZE      32U
#define TOP_BYTE       7U /* of the entry time, with XEN_RUNSTATE_UPDATE in it */
#define UPDATE_IN_BYTE 0x80U

static void *map_frame(void *ctx, gfn_t frame)
{
    return vm_memory(ctx, gpa_of(frame), PAGE_SIZE);
}

static uint64_t now(void)
{
    return tsc_guest() - vm.xen.scale.timestamp;
}

void xen_start(void)
{
    uint64_t khz = tsc_khz() != 0 ? tsc_khz() : 1000000; /* unknown: a tick is a nanosecond */
    vm.xen = (struct xen_vm){
        .pages = {.ctx = &vm, .map = map_frame, .generation = vm.seal.generation},
        .scale = {.timestamp = tsc_guest()},
    };
    xen_scale(khz, &vm.xen.scale);
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        struct xen_vcpu *x = &vm.vcpu[i]->xen;
        *x = (struct xen_vcpu){.times = {.state = XEN_OFFLINE}};
        guest_page_cache_init(&x->runstate, XEN_RUNSTATE_SIZE);
        guest_page_cache_init(&x->info, XEN_VCPU_INFO_SIZE);
    }
}

/* Count the time since the last look to a state. Its remainder below a nanosecond is not lost: what
 * is counted is always the difference of two system times. */
static void account(struct xen_vcpu *x, enum xen_runstate state, uint64_t until)
{
    const struct xen_time *scale = &vm.xen.scale;
    x->times.time[state] += xen_nanoseconds(scale, until) - xen_nanoseconds(scale, x->last_tsc);
    x->last_tsc = until;
}

/* Whether or not it lies in the guest's page tables. */
static void write_area(struct guest_page_cache *cache, uint32_t at, const void *data,
                       uint32_t length)
{
    for (unsigned int i = 0; i < GUEST_PAGE_PARTS && cache->page[i] != NULL; i++)
        (void)vm_memory_for_write(&vm, gpa_of(cache->frame[i]), PAGE_SIZE);
    guest_page_cache_write(cache, at, data, length);
}

/* A guest that reads meanwhile sees the update bit before anything else changes, and until all has. */
static void publish(struct xen_vcpu *x)
{
    uint8_t area[XEN_RUNSTATE_SIZE];
    bool long_mode = vm.xen.long_mode;
    uint32_t top = xen_entry_time_offset(long_mode) + TOP_BYTE;
    uint8_t byte;
    if (!guest_page_cache_refresh(&x->runstate, &vm.xen.pages))
        return;
    guest_page_cache_read(&x->runstate, top, &byte, 1);
    byte |= UPDATE_IN_BYTE;
    write_area(&x->runstate, top, &byte, 1);
    atomic_thread_fence(memory_order_release);
    xen_put_run_times(area, &x->times, long_mode, true);
    write_area(&x->runstate, 0, area, xen_runstate_size(long_mode));
    atomic_thread_fence(memory_order_release);
    byte = area[top] & (uint8_t)~UPDATE_IN_BYTE;
    write_area(&x->runstate, top, &byte, 1);
}

static void write_version(struct xen_vcpu *x)
{
    x->version++;
    write_area(&x->info, xen_time_version_offset(), &x->version, sizeof(x->version));
}

/* Who reads meanwhile finds an odd version, or another one when done. */
static void publish_info(struct xen_vcpu *x)
{
    uint8_t area[XEN_VCPU_INFO_SIZE];
    struct xen_time time = vm.xen.scale;
    if (!guest_page_cache_refresh(&x->info, &vm.xen.pages))
        return;
    write_version(x);
    atomic_thread_fence(memory_order_release);
    time.version = x->version;
    time.timestamp += x->tsc_moved;
    xen_put_vcpu_info(area, &time, vm.xen.long_mode);
    write_area(&x->info, 0, area, sizeof(area));
    atomic_thread_fence(memory_order_release);
    write_version(x);
}

void xen_follow_tsc(struct vcpu *v)
{
    const uint64_t moved = tsc_guest_moved();
    if (moved == v->xen.tsc_moved) /* as by each deadline */
        return;
    vm_lock(v);
    v->xen.tsc_moved = moved;
    publish_info(&v->xen);
    vm_unlock(v);
}

void xen_enter_state(struct vcpu *v, enum xen_runstate state)
{
    struct xen_vcpu *x = &v->xen;
    account(x, x->times.state, now());
    x->times.state = state;
    x->times.since = xen_nanoseconds(&vm.xen.scale, x->last_tsc);
    publish(x);
}

void xen_stolen(struct vcpu *v, uint64_t ticks)
{
    struct xen_vcpu *x = &v->xen;
    uint64_t until = now();
    if (x->times.state != XEN_RUNNING || until - x->last_tsc < ticks)
        return;
    account(x, XEN_RUNNING, until - ticks);
    account(x, XEN_RUNNABLE, until);
    publish(x);
}

static void latch(bool long_mode)
{
    vm.xen.latched = true;
    vm.xen.long_mode = long_mode;
    for (unsigned int i = 0; i < vm.vcpu_count; i++) {
        publish(&vm.vcpu[i]->xen);
        publish_info(&vm.vcpu[i]->xen);
    }
}

static int register_area(struct guest_page_cache *cache, gpa_t first, gpa_t second)
{
    return guest_page_cache_set(cache, &vm.xen.pages, gfn_of(first), gfn_of(second),
                                (uint32_t)(first.raw & PAGE_OFFSET_MASK));
}

static int register_runstate(struct xen_vcpu *x, gpa_t first, gpa_t second)
{
    int error = register_area(&x->runstate, first, second);
    if (error == 0) {
        account(x, x->times.state, now());
        publish(x);
    }
    return error;
}

/* The frames are those that the linear address means now, in the caller's page tables. */
static int register_linear(struct vcpu *v, struct xen_vcpu *x, uint64_t linear, bool long_mode)
{
    gpa_t first, second = gpa(0);
    uint64_t next = (linear | PAGE_OFFSET_MASK) + 1U;
    if (!long_mode)
        linear = (uint32_t)linear;
    if (linear % XEN_AREA_ALIGNMENT != 0)
        return -EINVAL;
    if (vcpu_translate(v, linear, ACCESS_READ | ACCESS_WRITE, &first) != 0)
        return -EFAULT;
    if (guest_page_crosses((uint32_t)(linear & PAGE_OFFSET_MASK), XEN_RUNSTATE_SIZE) &&
        vcpu_translate(v, long_mode ? next : (uint32_t)next, ACCESS_READ | ACCESS_WRITE, &second) !=
            0)
        return -EFAULT;
    return register_runstate(x, first, second);
}

static int register_physical(struct xen_vcpu *x, uint64_t address)
{
    if (address % XEN_AREA_ALIGNMENT != 0)
        return -EINVAL;
    return register_runstate(x, gpa(address), gpa((address | PAGE_OFFSET_MASK) + 1U));
}

/* struct vcpu_register_vcpu_info of the ABI: the frame, the offset in it, nothing. */
static int register_info(struct xen_vcpu *x, uint64_t frame, uint32_t offset)
{
    if (x->info.set || frame > UINT64_MAX >> PAGE_SHIFT || offset % XEN_AREA_ALIGNMENT != 0 ||
        offset > PAGE_SIZE - XEN_VCPU_INFO_SIZE)
        return -EINVAL;
    int error = guest_page_cache_set(&x->info, &vm.xen.pages, gfn(frame), gfn(0), offset);
    if (error == 0)
        publish_info(x);
    return error;
}

static int get_times(struct xen_vcpu *x, gpa_t to, bool long_mode)
{
    uint8_t area[XEN_RUNSTATE_SIZE];
    struct guest_page_cache answer;
    account(x, x->times.state, now());
    xen_put_run_times(area, &x->times, long_mode, false);
    guest_page_cache_init(&answer, XEN_RUNSTATE_SIZE);
    int error = register_area(&answer, to, gpa((to.raw | PAGE_OFFSET_MASK) + 1U));
    if (error == 0)
        write_area(&answer, 0, area, xen_runstate_size(long_mode));
    return error;
}

static int register_by(struct vcpu *v, struct xen_vcpu *x, uint64_t op, const uint64_t words[2],
                       bool long_mode)
{
    if (op == XEN_REGISTER_VCPU_INFO)
        return register_info(x, words[0], (uint32_t)words[1]);
    if (op == XEN_REGISTER_RUNSTATE_PHYS_AREA)
        return register_physical(x, words[0]);
    return register_linear(v, x, words[0], long_mode);
}

static int64_t locked_op(struct vcpu *v, struct xen_vcpu *x, uint64_t op, uint64_t argument,
                         bool long_mode)
{
    uint64_t words[2] = {0, 0};
    unsigned int size = op == XEN_REGISTER_VCPU_INFO ? 16U : 8U;
    if (op == XEN_GET_RUNSTATE_INFO)
        return get_times(x, gpa(argument), long_mode);
    if (op != XEN_REGISTER_RUNSTATE_AREA && op != XEN_REGISTER_RUNSTATE_PHYS_AREA &&
        op != XEN_REGISTER_VCPU_INFO)
        return -ENOSYS;
    if (vm_read(v->vm, gpa(argument), words, size) != size)
        return -EFAULT;
    if (!vm.xen.latched) /* so nothing is registered that would have to be written anew */
        vm.xen.long_mode = long_mode;
    int error = register_by(v, x, op, words, long_mode);
    vm.xen.latched = vm.xen.latched || error == 0;
    return error;
}

int64_t xen_vcpu_op(struct vcpu *v, uint64_t op, uint64_t vcpu, uint64_t argument, bool long_mode)
{
    if (vcpu >= vm.vcpu_count)
        return -ENOENT;
    vm_lock(v);
    int64_t result = locked_op(v, &vm.vcpu[vcpu]->xen, op, argument, long_mode);
    vm_unlock(v);
    return result;
}

/* Call number n by the back end's instruction, at n times 32 bytes: MOV EAX, n; VMCALL; RET. */
static void fill_page(uint8_t *page)
{
    memset(page, 0xcc, PAGE_SIZE);
    for (uint32_t n = 0; n < PAGE_SIZE / STUB_SIZE; n++) {
        uint8_t *stub = page + (size_t)n * STUB_SIZE;
        stub[0] = 0xb8;
        memcpy(stub + 1, &n, sizeof(n));
        stub[5] = 0x0f;
        stub[6] = 0x01;
        stub[7] = backend_hypercall_opcode();
        stub[8] = 0xc3;
    }
}

int xen_hypercall_page(struct vcpu *v, uint64_t value, bool long_mode)
{
    if (value & PAGE_NUMBERS)
        return -EINVAL;
    vm_lock(v);
    uint8_t *page = vm_memory_for_write(v->vm, gpa(value), PAGE_SIZE);
    if (page != NULL) {
        fill_page(page);
        latch(long_mode);
    }
    vm_unlock(v);
    return page != NULL ? 0 : -EINVAL;
}
