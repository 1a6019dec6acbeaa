// An echo server in Go: a goroutine for each connection, the usual design.
//
//	go build -o go_server go_server.go
//	./go_server PORT        listens on 127.0.0.1:PORT (0: any free port) and prints that address
//
// Go sets TCP_NODELAY by default, reads its backlog from net.core.somaxconn, and runs one thread for each usable CPU.
package main

import (
	"fmt"
	"net"
	"os"
)

const bufferSize = 16 * 1024

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go_server PORT")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:"+os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			// Out of descriptors or memory: the measurement would be invalid.
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go serve(connection)
	}
}

func serve(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, bufferSize)
	for {
		received, err := connection.Read(buffer)
		if err != nil {
			return
		}
		upper(buffer[:received])
		if _, err := connection.Write(buffer[:received]); err != nil {
			return
		}
	}
}

// ASCII only: bytes.ToUpper would decode the bytes as UTF-8.
func upper(bytes []byte) {
	for i, b := range bytes {
		if 'a' <= b && b <= 'z' {
			bytes[i] = b - ('a' - 'A')
		}
	}
}
