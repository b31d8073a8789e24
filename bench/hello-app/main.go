// A server that does what hello-app of the Kubernetes Engine tutorials does, with the same library
// calls: a log line and three lines of text for each request. With LOG=off its log is discarded
// before it is written, which hello-app itself cannot do.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	if os.Getenv("LOG") == "off" {
		log.SetOutput(io.Discard)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", hello)
	address := "127.0.0.1:" + os.Getenv("PORT")
	log.Printf("Server listening on %s", address)
	log.Fatal(http.ListenAndServe(address, mux))
}

func hello(w http.ResponseWriter, r *http.Request) {
	log.Printf("Serving request: %s", r.URL.Path)
	host, _ := os.Hostname()
	fmt.Fprintf(w, "Hello, world!\n")
	fmt.Fprintf(w, "Version: 1.0.0\n")
	fmt.Fprintf(w, "Hostname: %s\n", host)
}
