/* What sockets, descriptors and messages are, as the members of a line of JSON. */
#pragma once
#include "line.h"
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum {
    MAX_FDS = 1024,    /* of which the kernel takes 253 (SCM_MAX_FD): also what it refuses */
    MAX_VECTOR = 1024,    /* the kernel's UIO_MAXIOV */
    MAX_CONTROL = 16384, MAX_DATA = 4096, MAX_IOVECS = 64, MAX_LINK = 100,    /* ours */
    FIXED = 2048, PER_IOVEC = 21, PER_FD = 256 + 2 * MAX_LINK,    /* text, at most */
};

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76    /* include/uapi/asm-generic/socket.h, since Linux 6.5 */
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83    /* since 6.16 */
#endif
static const struct { const char *name; int number; } OPTIONS[] = {
    {"type", SO_TYPE}, {"passcred", SO_PASSCRED}, {"passpidfd", SO_PASSPIDFD},
    {"passsec", SO_PASSSEC}, {"passrights", SO_PASSRIGHTS},
    {"timestamp", SO_TIMESTAMP}, {"timestampns", SO_TIMESTAMPNS},
};

static int option(int fd, int number) {
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, number, &value, &size) ? -1 : value;
}

/* The inode of the socket at the other end, from the kernel (sock_diag(7)); 0 if there is
 * none, if it has not been accepted yet, or if this kernel does not say. */
static unsigned peer(unsigned inode) {
    struct { struct nlmsghdr head; struct unix_diag_req body; } ask = {
        {sizeof ask, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0},
        {AF_UNIX, 0, 0, ~0u, inode, UDIAG_SHOW_PEER, {~0u, ~0u}},
    };
    _Alignas(8) char answer[256] = {0};
    struct nlmsghdr *head = (void *)answer;
    unsigned found = 0, size;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return 0;
    if (send(fd, &ask, sizeof ask, 0) > 0 && recv(fd, answer, sizeof answer, 0) > 0 &&
        head->nlmsg_type == SOCK_DIAG_BY_FAMILY) {
        size = head->nlmsg_len - NLMSG_LENGTH(sizeof(struct unix_diag_msg));
        struct rtattr *at = (void *)((struct unix_diag_msg *)NLMSG_DATA(head) + 1);
        for (; RTA_OK(at, size); at = RTA_NEXT(at, size))
            if (at->rta_type == UNIX_DIAG_PEER)
                memcpy(&found, RTA_DATA(at), sizeof found);
    }
    close(fd);
    return found;
}

static void put_descriptor(struct line *line, int fd) {
    char name[64], link[MAX_LINK];
    struct stat is;
    if (fstat(fd, &is)) {
        put(line, "{\"fd\":%d,\"errno\":%d}", fd, errno);
        return;
    }
    put(line, "{\"fd\":%d,\"mode\":%u,\"device\":%llu,\"inode\":%llu", fd,
        (unsigned)is.st_mode, (unsigned long long)is.st_dev,
        (unsigned long long)is.st_ino);
    put(line, ",\"status\":%d,\"flags\":%d", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
    if (S_ISSOCK(is.st_mode))
        put(line, ",\"domain\":%d,\"type\":%d", option(fd, SO_DOMAIN),
            option(fd, SO_TYPE));
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(name, link, sizeof link);
    put_hex(line, "link", link, size > 0 ? size : 0);
    put(line, "}");
}

/* The bytes, and what their descriptors are: walked as the kernel walks (CMSG_OK in
 * include/linux/socket.h), for the macros of <sys/socket.h> are laxer. */
static void put_control(struct line *line, const char *control, size_t given) {
    size_t size = least(given, MAX_CONTROL), data;
    int count = 0, fd;
    struct cmsghdr head;
    put_hex(line, "control", control, size);
    put(line, ",\"fds\":[");
    for (size_t at = 0; at < size && size - at >= sizeof head;
         at += CMSG_ALIGN(head.cmsg_len)) {
        if (grab(&head, control + at, sizeof head) < sizeof head ||
            head.cmsg_len < sizeof head || head.cmsg_len > size - at)
            break;
        if (head.cmsg_level != SOL_SOCKET || head.cmsg_type != SCM_RIGHTS)
            continue;
        for (data = sizeof head; head.cmsg_len - data >= sizeof fd; data += sizeof fd)
            if (count < MAX_FDS &&
                grab(&fd, control + at + data, sizeof fd) == sizeof fd) {
                put(line, count++ ? "," : "");
                put_descriptor(line, fd);
            }
    }
    put(line, "]");
}

static void put_data(struct line *line, const struct msghdr *msg, size_t size) {
    char bytes[MAX_DATA];
    size_t left = least(size, sizeof bytes), have = 0;
    struct iovec vector;
    for (size_t i = 0; i < msg->msg_iovlen && i < MAX_VECTOR && have < left; i++) {
        if (grab(&vector, msg->msg_iov + i, sizeof vector) < sizeof vector)
            break;
        have += grab(bytes + have, vector.iov_base, least(vector.iov_len, left - have));
    }
    put_hex(line, "data", bytes, have);
}

static size_t put_iovecs(struct line *line, const struct msghdr *msg) {
    size_t size = 0;
    struct iovec vector;
    put(line, ",\"iovecs\":[");
    for (size_t i = 0; i < msg->msg_iovlen && i < MAX_VECTOR; i++) {
        if (grab(&vector, msg->msg_iov + i, sizeof vector) < sizeof vector)
            break;
        size += vector.iov_len;
        if (i < MAX_IOVECS)
            put(line, i ? ",%zu" : "%zu", vector.iov_len);
    }
    put(line, "],\"size\":%zu", size);
    return size;
}
