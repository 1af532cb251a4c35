// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin for QEMU that counts the instructions which the guest executes between two markers.
 *
 * A program in the guest executes `xchg %rcx,%rcx` where counting is to begin, and `xchg %rdx,%rdx`
 * where it is to end; neither does anything, and no compiler writes them. For each such pair the
 * plugin appends to its output file
 *
 *     interval NUMBER
 *     ADDRESS COUNT…      instructions executed in the block of the kernel that begins at ADDRESS
 *                         (hexadecimal), one line a block
 *     user COUNT…         instructions executed in user mode
 *     lost COUNT…         instructions that there was no counter for: must be 0
 *     end
 *
 * with one COUNT for each of the guest's processors.
 *
 * A block is the code that the emulator translates in one piece: it ends at the first branch, so it
 * lies in one function.
 *
 * Arguments: out=FILE
 *
 * Debian has no package with the plugin interface's header, so the functions that are used are
 * declared here. QEMU refuses a plugin whose version of the interface it does not have.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- QEMU's plugin interface, version 3 ---- */

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;
typedef struct { struct qemu_plugin_scoreboard *score; size_t offset; } qemu_plugin_u64;

enum { ADD_U64 = 0 };
enum { NO_REGS = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *tb, int op,
						       qemu_plugin_u64 entry, uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int, void *), int flags,
					    void *userdata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *into, size_t size);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t element_size);
void *qemu_plugin_scoreboard_find(struct qemu_plugin_scoreboard *score, unsigned int vcpu);
int qemu_plugin_num_vcpus(void);

__attribute__((visibility("default"))) int qemu_plugin_version = 3;

/* ---- counting ---- */

/*
 * Counters: one for user mode, one for each block of the kernel, and one for all blocks for which
 * no counter is left.
 */
enum { USER, LOST, FIRST, COUNTERS = 1 << 20, BUCKETS = 4 * COUNTERS };
enum { PROCESSORS = 16 };

static struct qemu_plugin_scoreboard *score;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t address[COUNTERS];	/* of each counter's block */
static uint32_t bucket[BUCKETS];	/* addresses to counters; 0 is an empty one */
static uint32_t used = FIRST;
/*
 * The counters of each processor at the beginning of the interval. A counter that has come into use
 * since then began at 0.
 */
static uint64_t before[PROCESSORS][COUNTERS];
static bool inside;
static unsigned int number;
static FILE *out;

static const uint8_t begin[3] = { 0x48, 0x87, 0xc9 };
static const uint8_t end[3] = { 0x48, 0x87, 0xd2 };

static bool of_kernel(uint64_t vaddr)
{
	return vaddr >> 47;
}

/* The counter of the block at an address of the kernel. */
static uint32_t counter(uint64_t vaddr)
{
	uint64_t at = (vaddr * 0x9e3779b97f4a7c15ull) >> 42;

	for (;; at++) {
		uint32_t *in = &bucket[at % BUCKETS];

		if (*in && address[*in] == vaddr)
			return *in;
		if (*in)
			continue;
		if (used == COUNTERS)
			return LOST;
		address[used] = vaddr;
		return *in = used++;
	}
}

static void fail(const char *what)
{
	fprintf(stderr, "instructions: %s\n", what);
	exit(1);
}

/* The number of processors, which must not be more than there is room for. */
static int processors(void)
{
	int number = qemu_plugin_num_vcpus();

	if (number > PROCESSORS)
		fail("the guest has too many processors");
	return number;
}

/* The counters of a processor. */
static const uint64_t *counters(int vcpu)
{
	return qemu_plugin_scoreboard_find(score, vcpu);
}

static void on_begin(unsigned int vcpu, void *unused)
{
	pthread_mutex_lock(&lock);
	if (inside)
		fail("a second marker of a beginning");
	inside = true;
	for (int i = 0; i < processors(); i++)
		memcpy(before[i], counters(i), used * sizeof(uint64_t));
	pthread_mutex_unlock(&lock);
}

/* Prints what a counter has counted in the interval, if that is anything. */
static void print(const char *name, uint32_t which)
{
	uint64_t sum = 0;

	for (int i = 0; i < processors(); i++)
		sum += counters(i)[which] - before[i][which];
	if (!sum && which >= FIRST)
		return;
	fprintf(out, "%s", name);
	for (int i = 0; i < processors(); i++)
		fprintf(out, " %" PRIu64, counters(i)[which] - before[i][which]);
	fprintf(out, "\n");
}

static void on_end(unsigned int vcpu, void *unused)
{
	char name[17];

	pthread_mutex_lock(&lock);
	if (!inside)
		fail("a marker of an end without one of a beginning");
	inside = false;
	fprintf(out, "interval %u\n", ++number);
	for (uint32_t i = FIRST; i < used; i++) {
		snprintf(name, sizeof(name), "%" PRIx64, address[i]);
		print(name, i);
	}
	print("user", USER);
	print("lost", LOST);
	fprintf(out, "end\n");
	if (fflush(out))
		fail("cannot write the counts");
	pthread_mutex_unlock(&lock);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	uint64_t vaddr = qemu_plugin_tb_vaddr(tb);
	size_t n = qemu_plugin_tb_n_insns(tb);
	uint32_t which = USER;

	if (of_kernel(vaddr)) {
		pthread_mutex_lock(&lock);
		which = counter(vaddr);
		pthread_mutex_unlock(&lock);
	}
	qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
		tb, ADD_U64, (qemu_plugin_u64){ score, which * sizeof(uint64_t) }, n);
	if (which != USER)
		return;
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t bytes[3];

		if (qemu_plugin_insn_size(insn) != sizeof(bytes) ||
		    qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) != sizeof(bytes))
			continue;
		if (!memcmp(bytes, begin, sizeof(bytes)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_begin, NO_REGS, NULL);
		else if (!memcmp(bytes, end, sizeof(bytes)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_end, NO_REGS, NULL);
	}
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	if (!out) {
		fprintf(stderr, "instructions: out=FILE is missing, or cannot be written\n");
		return 1;
	}
	score = qemu_plugin_scoreboard_new(COUNTERS * sizeof(uint64_t));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
