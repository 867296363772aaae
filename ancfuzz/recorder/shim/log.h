/* The log of this process: where it is, and how it stays open.
 *
 * It is opened in the constructor, before the program can change its root, drop its
 * privileges or overwrite its environment (nginx). It is opened again after a fork, for
 * each process has its own, and where the program has closed it (sshd, daemons) and
 * perhaps reused its number: before each write it is compared with what was opened.
 */
#pragma once
#include "line.h"
#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum {
    MAX_START = 512,
    HIGH = 1000,    /* the log's number, out of the program's way */
    LOST = 0700,    /* the mode of a log that lacks a line; otherwise 0600 */
};

static char directory[PATH_MAX];    /* of the logs; empty: nothing is recorded */
static char program[64];            /* as it was called; later titles (sshd: user) may */
                                    /* hold slashes, and what is nobody's business */
static int log_fd = -1;
static pid_t log_pid;               /* the process that opened log_fd, */
static struct stat log_stat;        /* and the file that it opened */

static void open_log(void) {
    char path[PATH_MAX + NAME_MAX];
    snprintf(path, sizeof path, "%s/%s.%d.log", directory, program, (int)getpid());
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;    /* no privilege, or another root: an inherited log serves on */
    int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH);
    if (high >= 0) {    /* under a low limit it stays where it is */
        close(fd);
        fd = high;
    }
    fstat(fd, &log_stat);
    log_fd = fd;
}

/* Whether a write would be the program's death: of a log that is longer than its limit on
 * files the kernel tells with SIGXFSZ. */
static int is_too_long(size_t more) {
    struct rlimit limit;
    struct stat is;
    return !getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur != RLIM_INFINITY &&
           !fstat(log_fd, &is) && (rlim_t)is.st_size + more > limit.rlim_cur;
}

static void write_out(struct line *line) {
    put(line, "}\n");
    size_t size = line->at - line->start;
    /* A full disk is the recorder's trouble, not the program's. There is no room to say
     * so in the log, but in its mode there is: log.py reads it. */
    if (is_too_long(size) || write(log_fd, line->start, size) != (ssize_t)size)
        fchmod(log_fd, LOST);
}

static void introduce(void) {
    char text[MAX_START];
    struct line line = {text, text, text + sizeof text};
    open_log();
    put(&line, "{\"event\":\"start\",\"began\":%llu,\"pid\":%d,\"parent\":%d", now(),
        (int)getpid(), (int)getppid());
    put_hex(&line, "program", program, strlen(program));
    write_out(&line);
}

static void write_log(struct line *line) {
    struct stat is;
    pid_t self = getpid(), opener = log_pid;
    int lost = fstat(log_fd, &is) || is.st_dev != log_stat.st_dev ||
               is.st_ino != log_stat.st_ino;
    if (lost)
        log_fd = -1;
    /* After a fork: of several threads one does it, the others use the parent's log. */
    if (opener != self &&
        __atomic_compare_exchange_n(&log_pid, &opener, self, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        introduce();
    else if (lost)
        open_log();
    write_out(line);
}
