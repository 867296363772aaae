/* A line of JSON, made without malloc and bounded, and memory read without risk. */
#pragma once
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

struct line { char *start, *at, *end; };

static void put(struct line *line, const char *format, ...) {
    va_list values;
    size_t room = line->end - line->at;
    va_start(values, format);
    int wanted = vsnprintf(line->at, room, format, values);
    va_end(values);
    if (wanted > 0)
        line->at += least(wanted, room - 1);
}

/* Copies through the kernel, which reports a bad pointer where a load would kill. Where
 * that call is forbidden the pointer is trusted, as the program itself trusts it. */
static size_t grab(void *to, const void *from, size_t size) {
    struct iovec here = {to, size}, there = {(void *)from, size};
    if (size == 0 || from == NULL)
        return 0;
    ssize_t got = process_vm_readv(getpid(), &here, 1, &there, 1, 0);
    if (got >= 0)
        return got;
    if (errno == EFAULT)
        return 0;
    memcpy(to, from, size);
    return size;
}

static void put_hex(struct line *line, const char *key, const void *from, size_t size) {
    static const char DIGITS[] = "0123456789abcdef";
    unsigned char part[512];
    size_t want, got;
    put(line, ",\"%s\":\"", key);
    for (size_t done = 0; done < size; done += got) {
        want = least(size - done, sizeof part);
        got = grab(part, (const char *)from + done, want);
        for (size_t i = 0; i < got && line->end - line->at > 2; i++) {
            *line->at++ = DIGITS[part[i] >> 4];
            *line->at++ = DIGITS[part[i] & 15];
        }
        if (got < want)
            break;
    }
    put(line, "\"");
}

static unsigned long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}
