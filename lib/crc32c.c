/* SPDX-License-Identifier: ISC */
/*
 * CRC32C (Castagnoli, reflected 0x82f63b78). SSE4.2 does 8 bytes an instruction; the table is for
 * processors without it: it need not be fast, only right.
 */
#include <string.h>

#include "lib/durable.h"

/* The table is linear in its index: an entry is the sum of those of its bits. */
#define BIT(i, n, value) ((i) >> (n) & 1 ? (value) : 0u)
#define ENTRY(i)                                                                                   \
	(BIT(i, 0, 0xf26b8303u) ^ BIT(i, 1, 0xe13b70f7u) ^ BIT(i, 2, 0xc79a971fu) ^                \
	    BIT(i, 3, 0x8ad958cfu) ^ BIT(i, 4, 0x105ec76fu) ^ BIT(i, 5, 0x20bd8edeu) ^             \
	    BIT(i, 6, 0x417b1dbcu) ^ BIT(i, 7, 0x82f63b78u))
#define ENTRIES4(i) ENTRY(i), ENTRY((i) + 1), ENTRY((i) + 2), ENTRY((i) + 3)
#define ENTRIES16(i) ENTRIES4(i), ENTRIES4((i) + 4), ENTRIES4((i) + 8), ENTRIES4((i) + 12)
#define ENTRIES64(i) ENTRIES16(i), ENTRIES16((i) + 16), ENTRIES16((i) + 32), ENTRIES16((i) + 48)

static uint32_t
by_table(uint32_t crc, const unsigned char *p, size_t n)
{
	static const uint32_t table[256] = { ENTRIES64(0), ENTRIES64(64), ENTRIES64(128),
		ENTRIES64(192) };

	for (; n; n--)
		crc = table[(crc ^ *p++) & 0xff] ^ crc >> 8;
	return crc;
}

/* Of polynomials modulo that of the CRC, with the coefficient of x^0 in the top bit. */
static uint32_t
times(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (; a; a <<= 1) {
		if (a & 1u << 31)
			product ^= b;
		b = b & 1 ? b >> 1 ^ 0x82f63b78u : b >> 1;
	}
	return product;
}

#ifdef __x86_64__
/* The instruction takes three cycles, and one can begin in each: three lanes of so many bytes side by side. */
enum { LANE = 1024 };
/* x to the 8 * LANE and 16 * LANE: what the lanes behind do to a sum (crc32c_combine). */
#define PAST_ONE 0xe4172b16u
#define PAST_TWO 0x0d65762au

static uint64_t
word_at(const unsigned char *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

__attribute__((target("sse4.2"))) static uint32_t
three_lanes(uint32_t crc, const unsigned char *p)
{
	uint64_t first = crc, second = 0, third = 0;

	for (const unsigned char *end = p + LANE; p < end; p += sizeof(uint64_t)) {
		first = __builtin_ia32_crc32di(first, word_at(p));
		second = __builtin_ia32_crc32di(second, word_at(p + LANE));
		third = __builtin_ia32_crc32di(third, word_at(p + 2 * LANE));
	}
	return times(PAST_TWO, (uint32_t)first) ^ times(PAST_ONE, (uint32_t)second) ^ (uint32_t)third;
}

__attribute__((target("sse4.2"))) static uint32_t
by_cpu(uint32_t crc, const unsigned char *p, size_t n)
{
	for (; n >= 3 * LANE; n -= 3 * LANE, p += 3 * LANE)
		crc = three_lanes(crc, p);
	uint64_t sum = crc;
	for (; n >= sizeof(uint64_t); n -= sizeof(uint64_t), p += sizeof(uint64_t))
		sum = __builtin_ia32_crc32di(sum, word_at(p));
	crc = (uint32_t)sum;
	for (; n; n--)
		crc = __builtin_ia32_crc32qi(crc, *p++);
	return crc;
}

uint32_t
crc32c(uint32_t crc, const void *p, size_t n)
{
	if (__builtin_cpu_supports("sse4.2"))
		return ~by_cpu(~crc, p, n);
	return ~by_table(~crc, p, n);
}
#else
uint32_t
crc32c(uint32_t crc, const void *p, size_t n)
{
	return ~by_table(~crc, p, n);
}
#endif

uint32_t
crc32c_portable(uint32_t crc, const void *p, size_t n)
{
	return ~by_table(~crc, p, n);
}

/* What n more bytes do to a sum is a multiplication by x^(8n). */
uint32_t
crc32c_combine(uint32_t first, uint32_t second, uint64_t second_n)
{
	uint32_t square = 1u << 23; /* x^8 */

	for (; second_n; second_n >>= 1) {
		if (second_n & 1)
			first = times(square, first);
		square = times(square, square);
	}
	return first ^ second;
}
