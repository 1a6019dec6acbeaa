/*
 * The smallest HTTP/1.1 responder that load generators accept, which stands still once: one thread, level-triggered
 * epoll, one fixed response for each request, connections kept alive.
 *
 *   cc -O3 -Wall -Wextra -o http_stall http_stall.c
 *   ./http_stall PORT AFTER_MS LENGTH_MS     listens on 127.0.0.1:PORT (0: any free port) and says so on stdout
 *
 * AFTER_MS after its first request it serves nobody for LENGTH_MS: what comes meanwhile waits in the kernel, as it
 * would before a server that collects garbage or is swapped out. Then it says on stdout how long that really was. With
 * a length of 0 it never stands still.
 *
 * A request is whatever ends with an empty line; it must have no body. Nothing of it is looked at.
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "echo.h"

enum {
    EVENTS = 512,     /* as many as one wait may return; the rest is returned by the next */
    BUFFER = 4 * 1024 /* of requests at once; a generator without pipelining sends one */
};

static const char RESPONSE[] = "HTTP/1.1 200 OK\r\n"
                               "Connection: keep-alive\r\n"
                               "Content-Type: text/plain\r\n"
                               "Content-Length: 3\r\n"
                               "\r\n"
                               "ok\n";
static const char END_OF_REQUEST[] = "\r\n\r\n";

/* What is kept of a connection: how much of the end of a request has come. */
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

/* How many requests these bytes end. */
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

/* Returns whether there was a request. */
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
        /* A response that the socket does not take is one of thousands that nobody reads: no load generator. */
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

static void stand_still(long length_ms)
{
    double since_ms = now_ms();
    struct timespec length = {.tv_sec = length_ms / 1000, .tv_nsec = length_ms % 1000 * 1000000};
    while (nanosleep(&length, &length) < 0 && errno == EINTR)
        ;
    printf("stood still for %.1f ms\n", now_ms() - since_ms);
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
    double stall_at_ms = 0; /* 0: no request has come yet */
    bool has_stood = length_ms <= 0;
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        if (!has_stood && stall_at_ms > 0 && now_ms() >= stall_at_ms) {
            has_stood = true;
            stand_still(length_ms);
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
