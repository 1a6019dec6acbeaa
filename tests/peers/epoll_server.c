/*
 * The reference echo server: one thread, level-triggered epoll, ASCII upper case.
 *
 * It is the plain thing that the figures in BENCHMARKING.md are relative to: for each readable socket one recv and
 * one send, beside a shared epoll_wait. No threads, no io_uring, no limits, no drain.
 *
 *   cc -O2 -Wall -Wextra -o epoll_server epoll_server.c
 *   ./epoll_server PORT        listens on 127.0.0.1:PORT (0: any free port) and says so on stdout
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    EVENTS = 512,      /* as many as one wait may return; the rest is returned by the next */
    BUFFER = 64 * 1024 /* shared by all connections: one is served to its end before the next */
};

/* What is kept of a connection. A reply that the socket did not take whole waits in `rest`; meanwhile the
 * connection is watched for writability only, so that a slow reader is held by backpressure. */
struct connection {
    int fd;
    unsigned char *rest;
    size_t rest_at;
    size_t rest_end;
};

static unsigned char buffer[BUFFER];

static void die(const char *what)
{
    fprintf(stderr, "epoll_server: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void upper(unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char is_lower = (unsigned char)(bytes[i] - 'a') < 26;
        bytes[i] ^= (unsigned char)(is_lower << 5);
    }
}

static void watch(int epoll, struct connection *connection, int operation, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = connection};
    if (epoll_ctl(epoll, operation, connection->fd, &event) < 0)
        die("epoll_ctl");
}

static void drop(struct connection *connection)
{
    close(connection->fd);
    free(connection->rest);
    free(connection);
}

/* Sends as much as the socket takes. Returns how much that was, or -1 where the connection is lost. */
static ssize_t send_some(int fd, const unsigned char *bytes, size_t count)
{
    ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
    return sent < 0 && errno == EAGAIN ? 0 : sent;
}

static void on_readable(int epoll, struct connection *connection)
{
    ssize_t received = recv(connection->fd, buffer, BUFFER, 0);
    if (received < 0 && errno == EAGAIN)
        return;
    if (received <= 0) {
        drop(connection);
        return;
    }
    upper(buffer, (size_t)received);
    ssize_t sent = send_some(connection->fd, buffer, (size_t)received);
    if (sent < 0) {
        drop(connection);
        return;
    }
    if (sent == received)
        return;
    connection->rest_at = 0;
    connection->rest_end = (size_t)(received - sent);
    connection->rest = malloc(connection->rest_end);
    if (connection->rest == NULL)
        die("malloc");
    memcpy(connection->rest, buffer + sent, connection->rest_end);
    watch(epoll, connection, EPOLL_CTL_MOD, EPOLLOUT);
}

static void on_writable(int epoll, struct connection *connection)
{
    ssize_t sent = send_some(connection->fd, connection->rest + connection->rest_at,
                             connection->rest_end - connection->rest_at);
    if (sent < 0) {
        drop(connection);
        return;
    }
    connection->rest_at += (size_t)sent;
    if (connection->rest_at < connection->rest_end)
        return;
    free(connection->rest);
    connection->rest = NULL;
    watch(epoll, connection, EPOLL_CTL_MOD, EPOLLIN);
}

static void accept_all(int epoll, int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN)
                return;
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            /* Out of descriptors or memory: what follows would be no measurement. */
            die("accept4");
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL)
            die("calloc");
        connection->fd = fd;
        watch(epoll, connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static int listen_on(int port)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0)
        die("socket");
    int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
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

/* One descriptor for each connection: the soft limit is raised to the hard one. */
static void raise_open_files_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        die("setrlimit");
}

int main(int argc, char **argv)
{
    char *end = NULL;
    long port = argc == 2 ? strtol(argv[1], &end, 10) : -1;
    if (end == NULL || end == argv[1] || *end != '\0' || port < 0 || port > 65535) {
        fprintf(stderr, "usage: epoll_server PORT\n");
        return 2;
    }
    raise_open_files_limit();
    int listener = listen_on((int)port);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die("epoll_create1");
    /* The listener is the one entry without a connection. */
    struct epoll_event readable = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &readable) < 0)
        die("epoll_ctl");

    static struct epoll_event events[EVENTS];
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL)
                accept_all(epoll, listener);
            else if (connection->rest != NULL)
                on_writable(epoll, connection);
            else
                on_readable(epoll, connection);
        }
    }
}
