/* A CPU-bound program for any ARMv4T machine: some kernels, each with a checksum.
 *
 * It tells the harness where it is through semihosting (Arm's "Semihosting for AArch32"): a line of
 * text in front of the first kernel and behind each. SCALE says how much work is done.
 */

typedef unsigned int u32;
typedef unsigned char u8;

#ifndef SCALE
#define SCALE 1
#endif

#define SYS_WRITE0 0x04
#define SYS_EXIT 0x18
#define APPLICATION_EXIT 0x20026

static void semihost(u32 operation, u32 argument)
{
    register u32 r0 asm("r0") = operation;
    register u32 r1 asm("r1") = argument;
    /* lr: on a machine without semihosting, SWI from Supervisor mode overwrites it */
#ifdef __thumb__
    asm volatile("svc 0xab" : "+r"(r0) : "r"(r1) : "lr", "memory");
#else
    asm volatile("svc 0x123456" : "+r"(r0) : "r"(r1) : "lr", "memory");
#endif
}

static void report(const char *name, u32 checksum)
{
    static char line[32];
    char *end = line;
    while (*name)
        *end++ = *name++;
    *end++ = ' ';
    for (int shift = 28; shift >= 0; shift -= 4)
        *end++ = "0123456789abcdef"[(checksum >> shift) & 15];
    *end++ = '\n';
    *end = 0;
    semihost(SYS_WRITE0, (u32)line);
}

static u32 random_state;

static u32 random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

/* Compares, swaps and recursion over an array of words. */

#define SORTED 4096
static int array[SORTED];

static void quicksort(int *first, int *last)
{
    while (first < last) {
        int pivot = first[(last - first) >> 1];
        int *low = first, *high = last;
        while (low <= high) {
            while (*low < pivot)
                low++;
            while (*high > pivot)
                high--;
            if (low <= high) {
                int held = *low;
                *low++ = *high;
                *high-- = held;
            }
        }
        quicksort(first, high);
        first = low;
    }
}

static u32 sort(u32 rounds)
{
    u32 sum = 0;
    while (rounds--) {
        for (int i = 0; i < SORTED; i++)
            array[i] = (int)random();
        quicksort(array, array + SORTED - 1);
        for (int i = 0; i < SORTED; i += 64)
            sum = sum * 31 + (u32)array[i];
    }
    return sum;
}

/* A byte load, a table load and shifts: a tight loop. */

static u8 bytes[65536];
static u8 copied[65536];
static u32 crc_table[256];

static u32 crc(u32 rounds)
{
    for (u32 i = 0; i < 256; i++) {
        u32 value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
        crc_table[i] = value;
    }
    for (u32 i = 0; i < sizeof bytes; i++)
        bytes[i] = (u8)random();
    u32 value = ~0u;
    while (rounds--)
        for (u32 i = 0; i < sizeof bytes; i++)
            value = value >> 8 ^ crc_table[(value ^ bytes[i]) & 255];
    return ~value;
}

/* Multiplications, strided loads. */

#define ORDER 48
static int left[ORDER][ORDER], right[ORDER][ORDER], product[ORDER][ORDER];

static u32 matrix(u32 rounds)
{
    u32 sum = 0;
    for (int i = 0; i < ORDER; i++)
        for (int j = 0; j < ORDER; j++) {
            left[i][j] = (int)random() >> 20;
            right[i][j] = (int)random() >> 20;
        }
    while (rounds--) {
        for (int i = 0; i < ORDER; i++)
            for (int j = 0; j < ORDER; j++) {
                int cell = 0;
                for (int k = 0; k < ORDER; k++)
                    cell += left[i][k] * right[k][j];
                product[i][j] = cell;
            }
        left[rounds % ORDER][1] = product[2][3] >> 16;
        sum = sum * 31 + (u32)product[rounds % ORDER][5];
    }
    return sum;
}

/* Block transfers of eight words, then bytes backwards, with misaligned ends. */

static void copy(u8 *to, const u8 *from, u32 count)
{
    while (count && ((u32)to & 3)) {
        *to++ = *from++;
        count--;
    }
    if (!((u32)from & 3)) {
#ifdef __thumb__
        for (; count >= 16; count -= 16)
            asm volatile("ldmia %1!, {r3, r4, r5, r6}\n\tstmia %0!, {r3, r4, r5, r6}"
                         : "+l"(to), "+l"(from) : : "r3", "r4", "r5", "r6", "memory");
#else
        for (; count >= 32; count -= 32)
            asm volatile("ldmia %1!, {r3-r10}\n\tstmia %0!, {r3-r10}"
                         : "+r"(to), "+r"(from)
                         : : "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "memory");
#endif
    }
    while (count--)
        *to++ = *from++;
}

static u32 memory_copy(u32 rounds)
{
    u32 sum = 0;
    while (rounds--) {
        for (u32 start = 0; start < 8; start++)
            copy(copied + start, bytes + start, sizeof bytes - 4096 - start);
        for (u32 i = 0; i < 4096; i++)
            copied[sizeof copied - 1 - i] = bytes[i];
        copy(copied + 1, bytes, 4096);
        bytes[rounds & 0xffff] ^= (u8)rounds;
        sum = sum * 31 + copied[sizeof copied - 4096 - (rounds & 1023)] + copied[rounds & 4095];
    }
    return sum;
}

/* A bytecode interpreter: loads, a jump table, jumps that are hard to predict. */

enum { PUSH, LOAD, STORE, ADD, SUB, MUL, AND, SHIFT, JUMP, JUMP_IF_ZERO, HALT };

struct operation {
    u8 code, operand;
};

/* The Collatz sequence from variable 0; variable 1 counts its steps. */
static const struct operation collatz[] = {
    {LOAD, 0}, {PUSH, 1}, {SUB, 0}, {JUMP_IF_ZERO, 22},                      /* 0: until it is 1 */
    {LOAD, 1}, {PUSH, 1}, {ADD, 0}, {STORE, 1},                              /* 4: count */
    {LOAD, 0}, {PUSH, 1}, {AND, 0}, {JUMP_IF_ZERO, 18},                      /* 8: is it even? */
    {LOAD, 0}, {PUSH, 3}, {MUL, 0}, {PUSH, 1}, {ADD, 0}, {JUMP, 20},         /* 12: no: 3n + 1 */
    {LOAD, 0}, {SHIFT, 1},                                                   /* 18: yes: n / 2 */
    {STORE, 0}, {JUMP, 0},                                                   /* 20: once more */
    {HALT, 0},                                                               /* 22: the end */
};

static u32 interpret(u32 start)
{
    u32 variables[2] = {start, 0};
    u32 stack[8], *top = stack;
    const struct operation *next = collatz;
    for (;;) {
        u32 operand = next->operand;
        switch (next++->code) {
        case PUSH: *top++ = operand; break;
        case LOAD: *top++ = variables[operand]; break;
        case STORE: variables[operand] = *--top; break;
        case ADD: top--; top[-1] += *top; break;
        case SUB: top--; top[-1] -= *top; break;
        case MUL: top--; top[-1] *= *top; break;
        case AND: top--; top[-1] &= *top; break;
        case SHIFT: top[-1] >>= operand; break;
        case JUMP: next = collatz + operand; break;
        case JUMP_IF_ZERO:
            if (!*--top)
                next = collatz + operand;
            break;
        case HALT: return variables[1];
        }
    }
}

static u32 bytecode(u32 rounds)
{
    u32 sum = 0;
    while (rounds--)
        sum = sum * 31 + interpret(27 + (rounds & 255));
    return sum;
}

/* Calls, returns, registers saved and restored. */

static __attribute__((noinline)) u32 tree(u32 depth, u32 seed)
{
    if (!depth)
        return seed ^ seed >> 7;
    return tree(depth - 1, seed * 5 + 1) + (tree(depth - 1, seed + depth) ^ depth);
}

static u32 calls(u32 rounds)
{
    u32 sum = 0;
    while (rounds--)
        sum += tree(12, sum + rounds);
    return sum;
}

/* Floating point by the compiler's library, as on every ARM without a coprocessor for it. */

static u32 soft_float(u32 rounds)
{
    double x = 0.5, sum = 0;
    float small = 1;
    while (rounds--)
        for (int i = 1; i < 64; i++) {
            x = 3.9 * x * (1 - x);
            sum += x / i;
            small = small * 0.75f + (float)(i & 7);
        }
    return (u32)(int)(sum * 1000) ^ (u32)(int)(small * 65536);
}

/* Linked lists, strings and a state machine: what Dhrystone and CoreMark are made of. */

struct record {
    struct record *next;
    u32 key;
    char name[24];
};

static struct record records[64];

static int compare(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a - *b;
}

static __attribute__((noinline)) u32 scan(const char *text)
{
    enum { START, NUMBER, WORD } state = START;
    u32 found = 0;
    for (; *text; text++)
        switch (state) {
        case START:
            state = *text >= '0' && *text <= '9' ? NUMBER : *text == ' ' ? START : WORD;
            break;
        case NUMBER:
            if (*text == ' ')
                found += 1, state = START;
            else if (*text < '0' || *text > '9')
                state = WORD;
            break;
        case WORD:
            if (*text == ' ')
                found += 256, state = START;
        }
    return found;
}

static u32 lists(u32 rounds)
{
    u32 sum = 0;
    while (rounds--) {
        struct record *head = 0;
        for (u32 i = 0; i < 64; i++) {
            struct record *record = &records[i], **place = &head;
            record->key = random();
            for (u32 k = 0; k < 23; k++)
                record->name[k] = "0123 abc 7 xyz "[(record->key >> (k & 7)) % 15];
            record->name[23] = 0;
            while (*place && compare((*place)->name, record->name) < 0)
                place = &(*place)->next;
            record->next = *place;
            *place = record;
        }
        for (struct record *record = head; record; record = record->next)
            sum = sum * 31 + scan(record->name) + record->key;
    }
    return sum;
}

/* What one unit of SCALE is: about a million instructions of each kernel. */
static const struct {
    const char *name;
    u32 (*run)(u32 rounds);
    u32 rounds;
} kernels[] = {
    {"sort", sort, 3},
    {"crc", crc, 2},
    {"matrix", matrix, 1},
    {"copy", memory_copy, 9},
    {"bytecode", bytecode, 130},
    {"calls", calls, 10},
    {"float", soft_float, 18},
    {"lists", lists, 13},
};

void main(void)
{
    random_state = 2463534242u;
    /* once unmeasured: a translator's first sight of the code is not its speed */
    u32 sum = 0;
    for (u32 i = 0; i < sizeof kernels / sizeof *kernels; i++)
        sum = sum * 31 + kernels[i].run(1);
    report("start", sum);
    for (u32 i = 0; i < sizeof kernels / sizeof *kernels; i++)
        report(kernels[i].name, kernels[i].run(kernels[i].rounds * SCALE));
    semihost(SYS_EXIT, APPLICATION_EXIT);
    for (;;)
        ;
}
