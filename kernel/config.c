/* SPDX-License-Identifier: BSD-2-Clause */
#include "kernel/config.h"
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind {
    NUMBER, /* min..max */
    PORT,   /* the same, shown in hexadecimal */
    CHOICE, /* the number of the word in `choices` */
    UART,   /* com1..com4, none or a port's number */
    TEXT,   /* CONFIG_MODEL_MAX characters, the end included */
    CPU,    /* TEXT of one CPU: the key ends with its number */
    LATER,  /* a name that is kept for a later version */
};

struct key {
    const char *name;
    enum kind kind;
    uint32_t min, max;
    const char *choices; /* what may be given, in words; for LATER why it may not */
    const char *preset;
    size_t offset;
    const char *help;
};

#define FIELD(name) offsetof(struct config, name)

/* clang-format off */
static const struct key keys[] = {
    {.name = "console", .kind = UART, .min = 1, .max = 0xffff, .preset = "com1",
     .choices = "com1|com2|com3|com4|none|0xPORT", .offset = FIELD(console),
     .help = "serial port of Latch's own messages"},
    {.name = "vcpus", .kind = NUMBER, .max = 64, .preset = "0", .offset = FIELD(vcpus),
     .help = "the guest's CPUs, 0 for all there are"},
    {.name = "paging", .kind = CHOICE, .choices = "auto|direct|shadow", .preset = "auto",
     .offset = FIELD(paging), .help = "how the guest's memory is mapped"},
    {.name = "model", .kind = TEXT, .choices = "SPEC", .preset = "host", .offset = FIELD(model),
     .help = "CPU model: host or a base, then ,key=value ,+feature ,-feature"},
    {.name = "exit-port", .kind = PORT, .max = 0xffff, .preset = "0", .offset = FIELD(exit_port),
     .help = "port that gets the exit status at the end, 0 for none"},
    {.name = "on-end", .kind = CHOICE, .choices = "poweroff|reset|halt", .preset = "poweroff",
     .offset = FIELD(on_end), .help = "what Latch does after the verdict"},
    {.name = "on-reset", .kind = CHOICE, .choices = "reset|relaunch|poweroff|halt",
     .preset = "reset", .offset = FIELD(on_reset), .help = "what a reset by the guest does"},
    {.name = "generation2", .kind = TEXT, .choices = "SPEC", .preset = "",
     .offset = FIELD(generation2), .help = "the model of every second generation of the guest"},
    {.name = "latch.model", .kind = CHOICE, .choices = "seal|print", .preset = "seal",
     .offset = FIELD(print_model), .help = "print the models when they are sealed, as model files"},
    {.name = "stats", .kind = CHOICE, .choices = "off|on", .preset = "off", .offset = FIELD(stats),
     .help = "time the guest's exits, and print what the run cost after its end"},
    {.name = "icr-trap", .kind = CHOICE, .choices = "auto|keep|startup", .preset = "auto",
     .offset = FIELD(icr_trap), .help = "how long the guest's writes to the ICR are trapped"},
    {.name = "mitigations", .kind = CHOICE, .choices = "off|auto|all",
     .preset = "auto", .offset = FIELD(mitigations),
     .help = "flush at entry and exit what this CPU needs flushed, or all that it can"},
    {.name = "test-hypercalls", .kind = CHOICE, .choices = "off|on", .preset = "off",
     .offset = FIELD(test_hypercalls), .help = "hypercalls that only tests need"},
    {.name = "pool", .kind = NUMBER, .min = 2, .max = 1024, .preset = "8", .offset = FIELD(pool),
     .help = "MiB for page tables"},
    {.name = "shadow", .kind = NUMBER, .min = 2, .max = 1024, .preset = "8",
     .offset = FIELD(shadow), .help = "MiB for shadow tables, taken if a CPU needs them"},
    {.name = "cpuN", .kind = CPU, .choices = "SPEC", .preset = "model=", .offset = FIELD(cpu_model),
     .help = "CPU N's own model, N from 0"},
    {.name = "generation2.cpuN", .kind = CPU, .choices = "SPEC", .preset = "generation2=",
     .offset = FIELD(cpu_generation2), .help = "the same in every second generation"},
    {.name = "base", .kind = LATER, .choices = "the guest's memory is where the machine's is"},
};
/* clang-format on */

#define KEYS (sizeof keys / sizeof keys[0])

static const struct {
    const char *name;
    uint32_t port;
} uarts[] = {
    {.name = "com1", .port = 0x3f8}, {.name = "com2", .port = 0x2f8},
    {.name = "com3", .port = 0x3e8}, {.name = "com4", .port = 0x2e8},
    {.name = "none", .port = 0},
};

struct word {
    const char *text;
    size_t length; /* of the whole word */
    size_t name;   /* of what stands before '=' */
};

/* The N that stands for that of a CPU's key, CONFIG_CPUS for one that is none of ours. */
static unsigned int cpu_number(const struct key *key, const struct word *word)
{
    unsigned int number = 0;
    for (size_t i = strlen(key->name) - 1; i < word->name; i++) {
        if (!isdigit((unsigned char)word->text[i]) || number >= CONFIG_CPUS) {
            return CONFIG_CPUS;
        }
        number = 10 * number + (unsigned int)(word->text[i] - '0');
    }
    return number < CONFIG_CPUS ? number : CONFIG_CPUS;
}

static bool is_key(const struct key *key, const struct word *word)
{
    if (key->kind == CPU) {
        size_t before = strlen(key->name) - 1;
        return word->name > before && memcmp(word->text, key->name, before) == 0 &&
               cpu_number(key, word) < CONFIG_CPUS;
    }
    return strlen(key->name) == word->name && memcmp(key->name, word->text, word->name) == 0;
}

/* The field of one CPU's key. */
static char *cpu_field(const struct key *key, const struct word *word, struct config *config)
{
    return (char *)config + key->offset + (size_t)CONFIG_MODEL_MAX * cpu_number(key, word);
}

static const struct key *find_key(const struct word *word)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (is_key(&keys[i], word)) {
            return &keys[i];
        }
    }
    return NULL;
}

/* What may stand behind `key=`, in words. */
static void describe_values(const struct key *key, char *text, size_t size)
{
    if (key->kind == NUMBER) {
        snprintf(text, size, "%u..%u", (unsigned)key->min, (unsigned)key->max);
    } else if (key->kind == PORT) {
        snprintf(text, size, "0x%x..0x%x", (unsigned)key->min, (unsigned)key->max);
    } else {
        snprintf(text, size, "%s", key->choices);
    }
}

static int refuse_value(struct refusal *why, int error, const struct word *word,
                        const struct key *key, const char *problem)
{
    char values[48];
    describe_values(key, values, sizeof values);
    return refuse(why, error, "configuration \"%.*s\": %s; give %s=%s",
                  (int)(word->length < 60 ? word->length : 60), word->text, problem, key->name,
                  values);
}

/* Decimal, or hexadecimal with 0x; nothing else, so no sign and no octal. */
static bool parse_number(const char *text, uint64_t *number)
{
    bool hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *digits = hexadecimal ? text + 2 : text;
    char *end;
    if (!isxdigit((unsigned char)digits[0])) {
        return false;
    }
    errno = 0;
    *number = strtoull(digits, &end, hexadecimal ? 16 : 10);
    return end != digits && *end == '\0' && errno == 0;
}

static bool choose(const char *choices, const char *value, uint32_t *chosen)
{
    size_t length = strlen(value);
    for (*chosen = 0;; ++*chosen) {
        size_t choice = strcspn(choices, "|");
        if (choice == length && memcmp(choices, value, length) == 0) {
            return true;
        }
        if (choices[choice] == '\0') {
            return false;
        }
        choices += choice + 1;
    }
}

static bool find_uart(const char *value, uint32_t *port)
{
    for (size_t i = 0; i < sizeof uarts / sizeof uarts[0]; i++) {
        if (strcmp(uarts[i].name, value) == 0) {
            *port = uarts[i].port;
            return true;
        }
    }
    return false;
}

/* `word` is only quoted; the value stands in `value`, ended by NUL. */
static int set_value(const struct key *key, const struct word *word, const char *value,
                     struct config *config, struct refusal *why)
{
    uint32_t *field = (uint32_t *)((char *)config + key->offset);
    uint64_t number;

    switch (key->kind) {
    case TEXT:
        snprintf((char *)config + key->offset, CONFIG_MODEL_MAX, "%s", value);
        return 0;
    case CHOICE:
        return choose(key->choices, value, field)
                   ? 0
                   : refuse_value(why, EINVAL, word, key, "no such value");
    case UART:
        if (find_uart(value, field)) {
            return 0;
        }
        break;
    case NUMBER:
    case PORT:
        break;
    case CPU:
        snprintf(cpu_field(key, word, config), CONFIG_MODEL_MAX, "%s", value);
        return 0;
    case LATER:
        return refuse(why, ENOTSUP,
                      "configuration \"%s=\" is not in this version: %s; leave it out", key->name,
                      key->choices);
    }
    if (!parse_number(value, &number)) {
        return refuse_value(why, EINVAL, word, key, "not a number or name that is known");
    }
    if (number < key->min || number > key->max) {
        return refuse_value(why, ERANGE, word, key, "out of range");
    }
    *field = (uint32_t)number;
    return 0;
}

static int set_word(const struct word *word, uint32_t *seen, struct config *config,
                    struct refusal *why)
{
    char value[CONFIG_MODEL_MAX];
    const struct key *key = find_key(word);

    if (key == NULL) {
        return refuse(why, EINVAL,
                      "configuration \"%.*s\": no such key; known are console vcpus paging model "
                      "exit-port on-end on-reset generation2 latch.model stats icr-trap "
                      "mitigations test-hypercalls pool shadow cpuN "
                      "generation2.cpuN",
                      (int)(word->length < 60 ? word->length : 60), word->text);
    }
    uint32_t bit = 1U << (unsigned)(key - keys);
    if (key->kind == CPU ? *cpu_field(key, word, config) != '\0' : *seen & bit) {
        return refuse_value(why, EEXIST, word, key, "given twice");
    }
    *seen |= bit;
    if (word->name + 1 >= word->length && key->kind != LATER) {
        return refuse_value(why, EINVAL, word, key, "no value");
    }
    size_t length = word->name < word->length ? word->length - word->name - 1 : 0;
    if (length >= sizeof value) {
        return refuse_value(why, ERANGE, word, key, "longer than 255 characters");
    }
    memcpy(value, word->text + word->length - length, length);
    value[length] = '\0';
    return set_value(key, word, value, config, why);
}

static int set_presets(struct config *config, struct refusal *why)
{
    int error = 0;
    for (size_t i = 0; i < KEYS && error == 0; i++) {
        struct word word = {.text = keys[i].name, .length = strlen(keys[i].name)};
        if (keys[i].kind != LATER && keys[i].kind != CPU) {
            error = set_value(&keys[i], &word, keys[i].preset, config, why);
        }
    }
    return error;
}

int config_parse(const char *command_line, struct config *config, struct refusal *why)
{
    uint32_t seen = 0;
    _Static_assert(KEYS <= 32, "one bit of `seen` for each key");

    memset(config, 0, sizeof *config);
    int error = set_presets(config, why);
    while (error == 0) {
        command_line += strspn(command_line, " \t");
        struct word word = {.text = command_line, .length = strcspn(command_line, " \t")};
        if (word.length == 0) {
            break;
        }
        const char *equals = memchr(word.text, '=', word.length);
        word.name = equals != NULL ? (size_t)(equals - word.text) : word.length;
        error = set_word(&word, &seen, config, why);
        command_line += word.length;
    }
    return error;
}

int config_help(unsigned index, char *text, size_t size)
{
    char values[48];
    if (index >= KEYS || keys[index].kind == LATER) {
        return -ENOENT;
    }
    describe_values(&keys[index], values, sizeof values);
    snprintf(text, size, "%s=%s  %s (%s)", keys[index].name, values, keys[index].help,
             keys[index].preset);
    return 0;
}
