/* The round trip of trips.py as a C program has it, timed in here: send one byte and
   descriptors, receive them, close them. Nothing is checked but errors and counts. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST 253 /* SCM_MAX_FD */

static int close_each(const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        if (close(fds[i]) < 0)
            return -errno;
    return 0;
}

/* Neighbours at once; between others there may be somebody else's. */
static int close_runs(const int *fds, int count)
{
    for (int i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && fds[next] == fds[next - 1] + 1; next++)
            ;
#ifdef SYS_close_range
        if (syscall(SYS_close_range, fds[i], fds[next - 1], 0) < 0)
            return -errno;
#else
        return -ENOSYS;
#endif
    }
    return 0;
}

static int send_fds(int sock, const int *fds, int count)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST * sizeof(int))];
    char byte = 'x';
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (count) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        memset(control, 0, message.msg_controllen);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    return sendmsg(sock, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int receive_fds(int sock, int *fds)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(MOST * sizeof(int))];
    char byte;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC) != 1)
        return -errno;
    int count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header;
         header = CMSG_NXTHDR(&message, header))
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
            size_t size = header->cmsg_len - CMSG_LEN(0);
            memcpy(fds + count, CMSG_DATA(header), size);
            count += size / sizeof(int);
        }
    return count;
}

/* Nanoseconds of CPU for so many round trips; -errno. */
long long round_trips(int one, int other, const int *fds, int count, int runs, long times)
{
    int received[MOST];
    struct timespec start, stop;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    for (long done = 0; done < times; done++) {
        int failed = send_fds(one, fds, count);
        if (failed)
            return failed;
        int arrived = receive_fds(other, received);
        if (arrived < 0)
            return arrived;
        failed = runs ? close_runs(received, arrived) : close_each(received, arrived);
        if (failed)
            return failed;
        if (arrived != count)
            return -EBADMSG;
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &stop);
    return (stop.tv_sec - start.tv_sec) * 1000000000LL + stop.tv_nsec - start.tv_nsec;
}
