/*
 * CMSG_FIRSTHDR and CMSG_NXTHDR of a target, over one control buffer.
 *
 * Where this is not compiled for the host, it is preprocessed with the headers of the
 * target and then compiled for a host of the same word size: what is left of the macros
 * after the preprocessor is arithmetic on pointers and on the target's own structures,
 * and layout() says whether the host's compiler laid those out as the target's did.
 *
 * The macros trust what is in the buffer; this does not. A header is looked at only if
 * all of it is inside, and a walk that does not advance is over.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/types.h>
#include <sys/socket.h>
#include "walk.h"

struct layout layout(void)
{
    struct layout it = {(long)sizeof(struct cmsghdr),
                        (long)(size_t)CMSG_DATA((struct cmsghdr *)0),
                        (long)CMSG_SPACE(1)};
    return it;
}

int walk(void *control, unsigned long controllen, int most, struct found *found,
         int *count)
{
    struct msghdr message = {0};
    struct cmsghdr *one;
    long before = -1;

    message.msg_control = control;
    message.msg_controllen = controllen;
    *count = 0;
    for (one = CMSG_FIRSTHDR(&message); one; one = CMSG_NXTHDR(&message, one)) {
        long at = (long)((char *)one - (char *)control);

        if (at < 0 || (unsigned long)at + sizeof(*one) > controllen)
            return OUTSIDE;
        if (at == before)
            return STOOD_STILL;
        if (at < before)
            return WENT_BACK;
        if (*count == most)
            return TOO_MANY;
        before = at;
        found[*count].at = at;
        found[*count].data = (long)((char *)CMSG_DATA(one) - (char *)control);
        found[*count].length = one->cmsg_len;
        found[*count].level = one->cmsg_level;
        found[*count].type = one->cmsg_type;
        *count += 1;
    }
    return ENDED;
}
