/*
 * A minimal HTTP/1.1 server that stalls once: one thread, level-triggered epoll, the same response for each request,
 * persistent connections.
 *
 *   cc -O3 -Wall -Wextra -o http_stall http_stall.c
 *   ./http_stall PORT AFTER_MS LENGTH_MS     listens on 127.0.0.1:PORT (0: any free port) and prints that address
 *
 * AFTER_MS after its first request, it serves no request for LENGTH_MS. Requests wait in the kernel meanwhile, as they
 * do when a server collects garbage or is swapped out. Then it prints the measured length of the stall. With a length of
 * 0 it never stalls.
 *
 * A request ends with an empty line, and must have no body. Its content is ignored.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "echo.h"

enum {
    EVENTS = 512,     /* the largest number that one wait returns */
    BUFFER = 4 * 1024 /* requests received at once; a generator without pipelining sends one */
};

static const char RESPONSE[] = "HTTP/1.1 200 OK\r\n"
                               "Connection: keep-alive\r\n"
                               "Content-Type: text/plain\r\n"
                               "Content-Length: 3\r\n"
                               "\r\n"
                               "ok\n";
static const char END_OF_REQUEST[] = "\r\n\r\n";

/* A connection, and the number of bytes of END_OF_REQUEST that it has received. */
struct connection {
    int fd;
    int matched;
};

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void drop(struct connection *connection)
{
    close(connection->fd);
    free(connection);
}

/* The number of requests that end within these bytes. */
static int requests_in(struct connection *connection, const char *bytes, ssize_t count)
{
    int requests = 0;
    for (ssize_t i = 0; i < count; i++) {
        if (bytes[i] == END_OF_REQUEST[connection->matched])
            connection->matched++;
        else
            connection->matched = bytes[i] == END_OF_REQUEST[0];
        if (END_OF_REQUEST[connection->matched] == '\0') {
            connection->matched = 0;
            requests++;
        }
    }
    return requests;
}

/* Returns whether a request ended. */
static bool on_readable(struct connection *connection)
{
    char buffer[BUFFER];
    ssize_t received = recv(connection->fd, buffer, sizeof buffer, 0);
    if (received < 0 && errno == EAGAIN)
        return false;
    if (received <= 0) {
        drop(connection);
        return false;
    }
    int requests = requests_in(connection, buffer, received);
    for (int i = 0; i < requests; i++) {
        ssize_t length = (ssize_t)sizeof RESPONSE - 1;
        /* The socket is full only if thousands of responses are unread. A load generator reads them. */
        if (send(connection->fd, RESPONSE, (size_t)length, MSG_NOSIGNAL) != length) {
            drop(connection);
            break;
        }
    }
    return requests > 0;
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
            die("accept4");
        }
        struct connection *connection = calloc(1, sizeof *connection);
        if (connection == NULL)
            die("calloc");
        connection->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl");
    }
}

static void stall(long length_ms)
{
    double since_ms = now_ms();
    struct timespec length = {.tv_sec = length_ms / 1000, .tv_nsec = length_ms % 1000 * 1000000};
    while (nanosleep(&length, &length) < 0 && errno == EINTR)
        ;
    printf("stalled for %.1f ms\n", now_ms() - since_ms);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    int port = argc == 4 ? port_of(argv[1]) : -1;
    if (port < 0) {
        fprintf(stderr, "usage: http_stall PORT AFTER_MS LENGTH_MS\n");
        return 2;
    }
    long after_ms = strtol(argv[2], NULL, 10), length_ms = strtol(argv[3], NULL, 10);
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
    double stall_at_ms = 0; /* 0: no request yet */
    bool has_stalled = length_ms <= 0;
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        if (!has_stalled && stall_at_ms > 0 && now_ms() >= stall_at_ms) {
            has_stalled = true;
            stall(length_ms);
        }
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL)
                accept_all(epoll, listener);
            else if (on_readable(connection) && stall_at_ms <= 0)
                stall_at_ms = now_ms() + (double)after_ms;
        }
    }
}
