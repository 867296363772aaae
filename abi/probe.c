/*
 * What the headers of a target say, as data that can be read out of an object file.
 *
 * The program is compiled and never run, so that it says as much about a big-endian
 * NetBSD as about the machine it was compiled on. Each value is an initialised
 * structure of characters: a mark, the expression, its value in decimal digits. Data
 * of characters look the same in ELF and in Mach-O, in either byte order, and have no
 * padding; who reads them looks for the mark and needs to know nothing else.
 *
 * Which expressions are asked for is in constants.h and layout.h. probe.py writes them,
 * one VALUE for each thing that our tables say something about, and a header to write
 * into header.h; nothing here says what is right. A constant that the libc does not name is asked of the kernel's own header:
 * afterwards, for that one names some which a libc numbers otherwise.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

/* Bytes of a member, and where its low-order byte's end lies: a 32-bit musl keeps a
   time's fraction in a long with padding, on the side that the byte order wants. */
#define WIDTH(type, member) sizeof(((type *)0)->member)
#define IS_SIGNED(type, member) ((__typeof__(((type *)0)->member))-1 < 0)
#define IS_BIG_ENDIAN (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
#define LOW_END(type, member) \
    (offsetof(type, member) + (IS_BIG_ENDIAN ? WIDTH(type, member) : 0))
#define DATA_OFFSET ((size_t)CMSG_DATA((struct cmsghdr *)0))

struct value {
    char mark[8];
    char expression[80];
    char sign;
    char digits[19];
    char end;
};

#define SIZE(e) ((e) < 0 ? -(unsigned long long)(e) : (unsigned long long)(e))
#define DIGIT(e, unit) (char)('0' + SIZE(e) / unit##ull % 10)
#define VALUE(e)                                                                     \
    {                                                                                \
        {'A', 'N', 'C', 'V', 'A', 'L', 'U', 'E'}, #e, (e) < 0 ? '-' : '+',           \
        {                                                                            \
            DIGIT(e, 1000000000000000000), DIGIT(e, 100000000000000000),             \
            DIGIT(e, 10000000000000000), DIGIT(e, 1000000000000000),                 \
            DIGIT(e, 100000000000000), DIGIT(e, 10000000000000),                     \
            DIGIT(e, 1000000000000), DIGIT(e, 100000000000),                         \
            DIGIT(e, 10000000000), DIGIT(e, 1000000000), DIGIT(e, 100000000),        \
            DIGIT(e, 10000000), DIGIT(e, 1000000), DIGIT(e, 100000),                 \
            DIGIT(e, 10000), DIGIT(e, 1000), DIGIT(e, 100), DIGIT(e, 10),            \
            DIGIT(e, 1)                                                              \
        }, ';'                                                                       \
    },

const struct value ancfuzz_libc[] = {
#include "constants.h"
#include "layout.h"
};

/* A header as the target's compiler writes it, in the byte order of its CPU. */
const struct {
    char mark[16];
    struct cmsghdr header;
    char end[16];
} ancfuzz_header = {
    "ANCHEADERBEGINS",
#include "header.h"
    ,
    "ANCHEADER__ENDS",
};

#if defined __linux__ && __has_include(<asm/socket.h>)
#include <asm/socket.h>
#endif

const struct value ancfuzz_kernel[] = {
#include "constants.h"
VALUE(sizeof(char))
};
