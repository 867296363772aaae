/* The recorder's eye: preloaded into a program, it writes down every sendmsg, recvmsg,
 * sendmmsg and recvmmsg that the program makes on an AF_UNIX socket.
 *
 * strace(1) prints the msg_controllen that came back, never the capacity that went in;
 * nor padding, unknown payloads, the socket's options. Here a call is seen from inside:
 * the bytes before, the bytes after, and what each descriptor is at that moment.
 *
 * One message is one line of JSON and one write(2), to a file of the process's own; a
 * first line, after each exec and fork, says which process this is. Strings are
 * hexadecimal and numbers raw: what they mean is decided in log.py, and only there.
 *
 * The program may notice time, one close-on-exec descriptor with a high number, and
 * nothing else. So errno is kept. Nothing is locked, nor allocated with malloc: sendmsg
 * is async-signal-safe, and stays so; each call works in a mapping of its own. The
 * program's pointers are read by the kernel, for a bad one is to earn the program its
 * EFAULT and not its death.
 *
 * It cannot see programs that are static, set-uid or of another architecture, nor system
 * calls that do not go through these four names (Go, io_uring, read(2)). A seccomp filter
 * that kills at process_vm_readv or openat kills here too.
 */
#define _GNU_SOURCE
#ifndef __LP64__
#define _FILE_OFFSET_BITS 64    /* elsewhere it renames fcntl, to what musl lacks */
#endif
#include "describe.h"
#include "log.h"
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
static ssize_t (*real_recvmsg)(int, struct msghdr *, int);
static int (*real_sendmmsg)(int, struct mmsghdr *, unsigned, int);
static int (*real_recvmmsg)(int, struct mmsghdr *, unsigned, int, struct timespec *);

static void find_real(void) {
    *(void **)&real_sendmsg = dlsym(RTLD_NEXT, "sendmsg");
    *(void **)&real_recvmsg = dlsym(RTLD_NEXT, "recvmsg");
    *(void **)&real_sendmmsg = dlsym(RTLD_NEXT, "sendmmsg");
    *(void **)&real_recvmmsg = dlsym(RTLD_NEXT, "recvmmsg");
}

__attribute__((constructor)) static void start(void) {
    int before = errno;
    Dl_info ours;
    find_real();
    /* The logs go to where this library is: each recording has a copy of its own. Of two
     * that are loaded, one recorder recording another, each knows its own folder. */
    const char *end = NULL;
    if (dladdr(directory, &ours) && ours.dli_fname[0] == '/')
        end = strrchr(ours.dli_fname, '/');
    if (end != NULL && end - ours.dli_fname < (ptrdiff_t)sizeof directory) {
        memcpy(directory, ours.dli_fname, end - ours.dli_fname);
        snprintf(program, sizeof program, "%s", program_invocation_short_name);
        log_pid = getpid();
        introduce();
    }
    errno = before;
}

/* -- one call: a line for each of its messages -------------------------------------- */

struct message { struct line line; struct msghdr before; };

struct call {
    size_t size;    /* of this mapping */
    size_t stride;  /* from one message to the next; 0 for the calls that take one */
    int sending;
    unsigned count;
    struct message messages[];
};

/* A struct mmsghdr begins with its struct msghdr. */
static const void *nth(const void *all, size_t stride, unsigned i) {
    return (const char *)all + i * stride;
}

static size_t room(const struct msghdr *msg) {
    size_t control = least(msg->msg_controllen, MAX_CONTROL);
    return FIXED + 2 * (MAX_DATA + control) +
           PER_IOVEC * least(msg->msg_iovlen, MAX_IOVECS) +
           PER_FD * least(control / sizeof(int), MAX_FDS);
}

static void put_before(struct call *call, struct message *message, const char *name,
                       unsigned index, int fd, int flags) {
    struct line *line = &message->line;
    struct msghdr *msg = &message->before;
    struct stat is = {0};
    fstat(fd, &is);
    put(line, "{\"event\":\"%s\",\"name\":\"%s\",\"index\":%u",
        call->sending ? "send" : "receive", name, index);
    put(line, ",\"pid\":%d,\"tid\":%ld,\"uid\":%u,\"gid\":%u,\"fd\":%d", (int)getpid(),
        (long)syscall(SYS_gettid), (unsigned)getuid(), (unsigned)getgid(), fd);
    put(line, ",\"inode\":%llu,\"peer\":%u,\"status\":%d,\"flags\":%d",
        (unsigned long long)is.st_ino, peer(is.st_ino), fcntl(fd, F_GETFL), flags);
    for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++)
        put(line, ",\"%s\":%d", OPTIONS[i].name, option(fd, OPTIONS[i].number));
    put(line, ",\"has_control\":%s,\"capacity\":%zu", msg->msg_control ? "true" : "false",
        (size_t)msg->msg_controllen);
    size_t size = put_iovecs(line, msg);
    if (call->sending) {    /* now: when the call is over another thread may close them */
        put_data(line, msg, size);
        put_control(line, msg->msg_control, msg->msg_controllen);
    }
    put(line, ",\"began\":%llu", now());
}

/* NULL if this is not an AF_UNIX socket, or if nothing is recorded. */
static struct call *begin(const char *name, int fd, const void *messages, size_t stride,
                          unsigned count, int flags) {
    int before = errno;
    struct msghdr msg;
    void *mapping = MAP_FAILED;
    struct call *call = NULL;
    if (real_sendmsg == NULL)
        find_real();    /* another library's constructor came before ours */
    if (directory[0] && option(fd, SO_DOMAIN) == AF_UNIX) {
        count = least(count, MAX_VECTOR);
        size_t at = sizeof *call + count * sizeof *call->messages, size = at;
        for (unsigned i = 0; i < count; i++)
            if (grab(&msg, nth(messages, stride, i), sizeof msg) == sizeof msg)
                size += room(&msg);
            else
                count = i;    /* the kernel will not get further either */
        mapping = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapping != MAP_FAILED) {
            call = mapping;
            *call = (struct call){size, stride, name[0] == 's', count};
            for (unsigned i = 0; i < count; i++) {
                struct message *message = &call->messages[i];
                grab(&message->before, nth(messages, stride, i), sizeof msg);
                char *text = (char *)mapping + at;
                at = least(at + room(&message->before), size);
                message->line = (struct line){text, text, (char *)mapping + at};
                put_before(call, message, name, i, fd, flags);
            }
        }
    }
    errno = before;
    return call;
}

/* `result` is the call's own: of a vector, how many of its messages went through. */
static void end(struct call *call, const void *messages, ssize_t result) {
    int error = errno;
    unsigned long long ended = now();
    if (call == NULL)
        return;
    ssize_t done = call->stride == 0 || result < 0 ? 1 : result;
    for (unsigned i = 0; i < call->count && i < done; i++) {
        struct line *line = &call->messages[i].line;
        struct msghdr *given = &call->messages[i].before;
        struct mmsghdr after = {.msg_len = result};
        grab(&after, nth(messages, call->stride, i),
             call->stride && result >= 0 ? sizeof after : sizeof after.msg_hdr);
        ssize_t moved = result < 0 ? -1 : (ssize_t)after.msg_len;
        put(line, ",\"ended\":%llu,\"result\":%zd,\"errno\":%d", ended, moved,
            result < 0 ? error : 0);
        if (result >= 0 && !call->sending) {    /* after an error they mean nothing */
            put(line, ",\"msg_flags\":%d,\"out\":%zu", after.msg_hdr.msg_flags,
                (size_t)after.msg_hdr.msg_controllen);
            put_data(line, given, moved);
            put_control(line, given->msg_control, after.msg_hdr.msg_controllen);
        }
        write_log(line);
    }
    munmap(call, call->size);
    errno = error;
}

/* -- the four names ------------------------------------------------------------------ */

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    struct call *call = begin("sendmsg", fd, message, 0, 1, flags);
    ssize_t result = real_sendmsg(fd, message, flags);
    end(call, message, result);
    return result;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    struct call *call = begin("recvmsg", fd, message, 0, 1, flags);
    ssize_t result = real_recvmsg(fd, message, flags);
    end(call, message, result);
    return result;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    struct call *call = begin("sendmmsg", fd, messages, sizeof *messages, count, flags);
    int result = real_sendmmsg(fd, messages, count, flags);
    end(call, messages, result);
    return result;
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
             struct timespec *timeout) {
    struct call *call = begin("recvmmsg", fd, messages, sizeof *messages, count, flags);
    int result = real_recvmmsg(fd, messages, count, flags, timeout);
    end(call, messages, result);
    return result;
}
