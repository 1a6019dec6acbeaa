/*
 * Code that the echo servers in C share: the listener, the conversion to upper case, and fatal errors.
 */
#ifndef ECHO_H
#define ECHO_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { BACKLOG = 4096 };

static inline void die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* ASCII only, and without a branch, so that the compiler vectorises the loop. It does so only in a separate function:
 * inlined into uring_server's loop, the scalar code doubled the cost of 16 KiB. */
static __attribute__((noinline, unused)) void upper(unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char is_lower = (unsigned char)(bytes[i] - 'a') < 26;
        bytes[i] ^= (unsigned char)(is_lower << 5);
    }
}

/* The port in an argument, or -1. */
static inline int port_of(const char *text)
{
    char *end = NULL;
    long port = strtol(text, &end, 10);
    return end != text && *end == '\0' && port >= 0 && port <= 65535 ? (int)port : -1;
}

/* Listens on 127.0.0.1 (port 0: any free one) and prints the address. Accepted sockets inherit TCP_NODELAY.
 * `flags` are socket(2)'s. */
static inline int listen_on(int port, int flags)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (listener < 0)
        die("socket");
    int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) < 0)
        die("bind");
    if (listen(listener, BACKLOG) < 0)
        die("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        die("getsockname");
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

/* Each connection needs a descriptor: raises the soft limit to the hard one. */
static inline void raise_open_files_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("setrlimit");
}

#endif
