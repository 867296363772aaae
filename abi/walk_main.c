/*
 * Reads control buffers, prints what the macros make of them.
 *
 * Standard input: any number of an int, how many bytes follow, in the host's byte order,
 * an int, the first msg_controllen to try, and the bytes. Standard output: the layout;
 * then for each buffer a line for each msg_controllen from the first to all of it: how
 * the walk ended, then at:data:length:level:type of each header.
 */
#include <stdio.h>
#include <string.h>
#include "walk.h"

enum { MOST_BYTES = 4096, MOST_HEADERS = 16 };

static _Alignas(16) unsigned char control[MOST_BYTES];

static void print_walk(unsigned long controllen)
{
    struct found found[MOST_HEADERS];
    int count;
    int end = walk(control, controllen, MOST_HEADERS, found, &count);

    putchar(end);
    for (int i = 0; i < count; i++)
        printf(" %ld:%ld:%llu:%d:%d", found[i].at, found[i].data, found[i].length,
               found[i].level, found[i].type);
    putchar('\n');
}

int main(void)
{
    struct layout it = layout();
    int head[2];

    printf("%ld %ld %ld\n", it.header_size, it.data_offset, it.space_of_one);
    while (fread(head, sizeof(head), 1, stdin) == 1) {
        if (head[0] < 0 || head[0] > MOST_BYTES || head[1] < 0)
            return 2;
        memset(control, 0, sizeof(control));
        if (head[0] && fread(control, (size_t)head[0], 1, stdin) != 1)
            return 2;
        for (int controllen = head[1]; controllen <= head[0]; controllen++)
            print_walk((unsigned long)controllen);
    }
    return ferror(stdin) || fflush(stdout) ? 1 : 0;
}
