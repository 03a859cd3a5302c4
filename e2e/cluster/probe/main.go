// Command probe is the program inside the image of the node's test: an HTTP server that tells what it sees of the cluster.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

const limit = 5 * time.Second // of each request that the probe makes

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		name, _ := os.Hostname()
		fmt.Fprintln(w, name)
	})
	mux.HandleFunc("GET /resolve", resolve)
	mux.HandleFunc("GET /get", get)
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: limit}
	log.Println("listening")
	log.Fatal(server.ListenAndServe())
}

// resolve answers with the addresses of the query's name.
func resolve(w http.ResponseWriter, r *http.Request) {
	addresses, err := net.DefaultResolver.LookupHost(r.Context(), r.URL.Query().Get("name"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintln(w, addresses)
}

// client trusts the cluster's authority, as Kubernetes gives it to every pod.
func client() *http.Client {
	roots := x509.NewCertPool()
	if text, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"); err == nil {
		roots.AppendCertsFromPEM(text)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	return &http.Client{Timeout: limit, Transport: transport}
}

// get passes on what the query's url answers.
func get(w http.ResponseWriter, r *http.Request) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.URL.Query().Get("url"), http.NoBody)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response, err := client().Do(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(response.Body, 1<<20)) // whoever hung up needs no answer
}
