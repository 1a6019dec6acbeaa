/*
 * An echo server with a thread for each connection: blocking calls, small stacks, ASCII upper case.
 *
 *   cc -O3 -Wall -Wextra -pthread -o threads_server threads_server.c
 *   ./threads_server PORT        listens on 127.0.0.1:PORT (0: any free port) and prints that address
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "echo.h"

enum {
    BUFFER = 16 * 1024, /* on the thread's stack; only written pages need memory */
    STACK = 64 * 1024
};

static int send_all(int fd, const unsigned char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return -1;
        bytes += sent;
        count -= (size_t)sent;
    }
    return 0;
}

static void *serve(void *argument)
{
    int fd = (int)(intptr_t)argument;
    unsigned char buffer[BUFFER];
    for (;;) {
        ssize_t received = recv(fd, buffer, sizeof buffer, 0);
        if (received < 0 && errno == EINTR)
            continue;
        if (received <= 0)
            break;
        upper(buffer, (size_t)received);
        if (send_all(fd, buffer, (size_t)received) < 0)
            break;
    }
    close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    int port = argc == 2 ? port_of(argv[1]) : -1;
    if (port < 0) {
        fprintf(stderr, "usage: threads_server PORT\n");
        return 2;
    }
    raise_open_files_limit();
    int listener = listen_on(port, 0);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        /* Out of descriptors, memory or threads: the measurement would be invalid. */
        if (fd < 0)
            die("accept4");
        pthread_t thread;
        errno = pthread_create(&thread, &attributes, serve, (void *)(intptr_t)fd);
        if (errno != 0)
            die("pthread_create");
    }
}
