/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/config.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <string.h>

static struct config config;
static struct refusal why;

static void check_refused(const char *line, int error, const char *text)
{
    CHECK_EQ(config_parse(line, &config, &why), -error);
    CHECK(strstr(why.text, text) != NULL);
    if (strstr(why.text, text) == NULL) {
        printf("#   \"%s\" gave \"%s\"\n", line, why.text);
    }
}

static void presets(void)
{
    CHECK_EQ(config_parse("", &config, &why), 0);
    CHECK_EQ(config.console, 0x3f8);
    CHECK_EQ(config.vcpus, 0);
    CHECK_EQ(config.paging, PAGING_AUTO);
    CHECK_EQ(config.exit_port, 0);
    CHECK_EQ(config.on_end, ON_END_POWEROFF);
    CHECK_EQ(config.icr_trap, ICR_TRAP_AUTO);
    CHECK_EQ(config.test_hypercalls, SWITCH_OFF);
    CHECK_EQ(config.print_model, SWITCH_OFF);
    CHECK_EQ(config.stats, SWITCH_OFF);
    CHECK_EQ(config.pool, 8);
    CHECK_EQ(config.shadow, 8);
    CHECK(strcmp(config.model, "host") == 0);
    CHECK(strcmp(config.cpu_model[0], "") == 0);
}

static void all_keys(void)
{
    CHECK_EQ(config_parse(
                 "  console=com3 vcpus=2\tpaging=shadow model=host,maxphyaddr=40,-fsrm "
                 "exit-port=0xF4 on-end=halt icr-trap=startup test-hypercalls=on latch.model=print "
                 "pool=1024 stats=on ",
                 &config, &why),
             0);
    CHECK_EQ(config.console, 0x3e8);
    CHECK_EQ(config.vcpus, 2);
    CHECK_EQ(config.paging, PAGING_SHADOW);
    CHECK(strcmp(config.model, "host,maxphyaddr=40,-fsrm") == 0);
    CHECK_EQ(config.exit_port, 0xf4);
    CHECK_EQ(config.on_end, ON_END_HALT);
    CHECK_EQ(config.icr_trap, ICR_TRAP_STARTUP);
    CHECK_EQ(config.test_hypercalls, SWITCH_ON);
    CHECK_EQ(config.print_model, SWITCH_ON);
    CHECK_EQ(config.stats, SWITCH_ON);
    CHECK_EQ(config.pool, 1024);
    CHECK_EQ(config_parse("console=none", &config, &why), 0);
    CHECK_EQ(config.console, 0);
    CHECK_EQ(config_parse("console=0x2e8 on-end=reset icr-trap=keep", &config, &why), 0);
    CHECK_EQ(config.console, 0x2e8);
    CHECK_EQ(config.on_end, ON_END_RESET);
    CHECK_EQ(config.icr_trap, ICR_TRAP_KEEP);
}

static void models_of_single_cpus(void)
{
    CHECK_EQ(
        config_parse("cpu1=host,maxphyaddr=36 cpu63=file,trim shadow=2 cpu0=host", &config, &why),
        0);
    CHECK(strcmp(config.cpu_model[0], "host") == 0);
    CHECK(strcmp(config.cpu_model[1], "host,maxphyaddr=36") == 0);
    CHECK(strcmp(config.cpu_model[2], "") == 0);
    CHECK(strcmp(config.cpu_model[63], "file,trim") == 0);
    CHECK(strcmp(config.model, "host") == 0);
    CHECK_EQ(config.shadow, 2);
    CHECK_EQ(config_parse("cpu1=host,-avx generation2.cpu1=f generation2=g generation2.cpu63=h",
                          &config, &why),
             0);
    CHECK(strcmp(config.cpu_model[1], "host,-avx") == 0);
    CHECK(strcmp(config.cpu_generation2[1], "f") == 0);
    CHECK(strcmp(config.cpu_generation2[63], "h") == 0);
    CHECK(strcmp(config.cpu_generation2[0], "") == 0);
    CHECK(strcmp(config.generation2, "g") == 0);
    check_refused("generation2.cpu1=f generation2.cpu01=f", EEXIST, "given twice");
    check_refused("generation2.cpu64=f", EINVAL, "no such key");
    check_refused("generation2.cpu=f", EINVAL, "no such key");
    check_refused("latch.model=on", EINVAL, "give latch.model=seal|print");
    check_refused("print-model=on", EINVAL, "no such key");
    check_refused("cpu1=host cpu2=host cpu1=host", EEXIST, "\"cpu1=host\": given twice");
    check_refused("cpu1=host cpu01=host", EEXIST, "given twice");
    check_refused("cpu64=host", EINVAL, "\"cpu64=host\": no such key; known are");
    check_refused("cpu4294967296=host", EINVAL, "no such key");
    check_refused("cpu=host", EINVAL, "no such key");
    check_refused("cpux=host", EINVAL, "no such key");
    check_refused("cpu1", EINVAL, "no value");
    check_refused("cpu1=", EINVAL, "no value");
}

static void refusals(void)
{
    char line[400] = "model=";
    check_refused("vcpu=2", EINVAL, "\"vcpu=2\": no such key; known are console vcpus");
    check_refused("quiet", EINVAL, "\"quiet\": no such key");
    check_refused("=2", EINVAL, "no such key");
    check_refused("vcpus=2 pool=4 vcpus=2", EEXIST, "\"vcpus=2\": given twice");
    check_refused("vcpus=65", ERANGE, "\"vcpus=65\": out of range; give vcpus=0..64");
    check_refused("pool=1", ERANGE, "give pool=2..1024");
    check_refused("pool=99999999999999999999", EINVAL, "give pool=2..1024");
    check_refused("exit-port=0x10000", ERANGE, "give exit-port=0x0..0xffff");
    check_refused("console=0", ERANGE, "give console=com1|com2|com3|com4|none|0xPORT");
    check_refused("console=com5", EINVAL, "give console=com1");
    check_refused("vcpus", EINVAL, "no value");
    check_refused("vcpus=", EINVAL, "no value");
    check_refused("vcpus=-1", EINVAL, "not a number");
    check_refused("vcpus=+1", EINVAL, "not a number");
    check_refused("vcpus=0x", EINVAL, "not a number");
    check_refused("vcpus=a", EINVAL, "not a number");
    check_refused("vcpus=2x", EINVAL, "not a number");
    check_refused("paging=nested", EINVAL, "give paging=auto|direct|shadow");
    check_refused("paging=auto|direct", EINVAL, "give paging=auto|direct|shadow");
    check_refused("paging=aut", EINVAL, "no such value");
    check_refused("test-hypercalls=yes", EINVAL, "give test-hypercalls=off|on");
    check_refused("base=0x1000000", ENOTSUP, "\"base=\" is not in this version");
    check_refused("vcpus=\x1b[2J", EINVAL, "vcpus=?[2J");
    memset(line + 6, 'x', 255);
    CHECK_EQ(config_parse(line, &config, &why), 0);
    CHECK_EQ(strlen(config.model), 255);
    line[261] = 'x';
    check_refused(line, ERANGE, "longer than 255");
}

static void help(void)
{
    char text[160];
    unsigned lines = 0;
    while (config_help(lines, text, sizeof text) == 0) {
        CHECK(strchr(text, '=') != NULL);
        lines++;
    }
    CHECK_EQ(lines, 17);
    CHECK_EQ(config_help(1, text, sizeof text), 0);
    CHECK(strcmp(text, "vcpus=0..64  the guest's CPUs, 0 for all there are (0)") == 0);
}

int main(void)
{
    RUN(presets);
    RUN(all_keys);
    RUN(models_of_single_cpus);
    RUN(refusals);
    RUN(help);
    return unit_end();
}
