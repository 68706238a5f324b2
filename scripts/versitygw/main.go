// An S3 server over a folder, for tests: versitygw without the other stores that its own program can be in front of.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// versitygw FOLDER ADDRESS [CERTFILE KEYFILE]
func main() {
	folder := os.Args[1]
	// Not every file system of a test machine has extended attributes.
	attributes, err := meta.NewSideCar(filepath.Join(folder, "attributes"))
	if err != nil {
		log.Fatal(err)
	}
	buckets := filepath.Join(folder, "buckets")
	backend, err := posix.New(buckets, attributes, posix.PosixOpts{SideCarDir: filepath.Join(folder, "attributes")})
	if err != nil {
		log.Fatal(err)
	}
	config := embedgw.Config{
		RootUserAccess:    os.Getenv("ROOT_ACCESS_KEY"),
		RootUserSecret:    os.Getenv("ROOT_SECRET_KEY"),
		Region:            "us-east-1",
		Ports:             []string{os.Args[2]},
		MaxConnections:    100,
		MaxRequests:       100,
		MultipartMaxParts: 10000,
		KeepAlive:         true,
		Quiet:             true,
	}
	if len(os.Args) > 3 {
		config.CertFile, config.KeyFile = os.Args[3], os.Args[4]
	}
	go announce(os.Args[2])
	if err := embedgw.RunVersityGW(context.Background(), backend, &config); err != nil {
		log.Fatal(err)
	}
}

// announce prints a line when the server listens.
func announce(address string) {
	for {
		connection, err := net.Dial("tcp", address)
		if err == nil {
			connection.Close()
			fmt.Println("Listening")
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
