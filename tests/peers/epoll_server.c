/*
 * The reference echo server: one thread, level-triggered epoll, ASCII upper case.
 *
 * The ratios in BENCHMARKING.md are relative to this server: one recv and one send for each readable socket, and a
 * shared epoll_wait. No threads, no io_uring, no limits, no drain.
 *
 *   cc -O3 -Wall -Wextra -o epoll_server epoll_server.c
 *   ./epoll_server PORT [--once]       listens on 127.0.0.1:PORT (0: any free port) and prints that address
 *
 * With --once it closes each connection after its first reply: the minimum cost of a connection for each request.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "echo.h"

enum {
    EVENTS = 512,      /* the largest number that one wait returns */
    BUFFER = 64 * 1024 /* shared by all connections, which are served one after another */
};

/* A connection. `rest` is the part of a reply that the socket did not accept. While there is a rest, epoll watches the
 * connection for writability only, so a slow reader gets backpressure. */
struct connection {
    int fd;
    unsigned char *rest;
    size_t rest_at;
    size_t rest_end;
};

static unsigned char buffer[BUFFER];
static bool once;

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

/* Sends as much as the socket accepts. Returns the number of bytes, or -1 if the connection is lost. */
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
    if (sent < 0 || (once && sent == received)) {
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
    if (once) {
        drop(connection);
        return;
    }
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
            /* Out of descriptors or memory: the measurement would be invalid. */
            die("accept4");
        }
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL)
            die("calloc");
        connection->fd = fd;
        watch(epoll, connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

int main(int argc, char **argv)
{
    once = argc == 3 && strcmp(argv[2], "--once") == 0;
    int port = argc == 2 || once ? port_of(argv[1]) : -1;
    if (port < 0) {
        fprintf(stderr, "usage: epoll_server PORT [--once]\n");
        return 2;
    }
    raise_open_files_limit();
    int listener = listen_on(port, SOCK_NONBLOCK);
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
