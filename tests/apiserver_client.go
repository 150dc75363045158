// Posts a review as kube-apiserver does: HTTP/1.1, 25 idle connections kept, bursts of 40.
//
//	client URL CA REVIEW SECONDS
//
// A request is sent once, and any error is a failure. Prints what came of it as JSON.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	ca, _ := os.ReadFile(os.Args[2])
	review, _ := os.ReadFile(os.Args[3])
	seconds, _ := strconv.Atoi(os.Args[4])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	var answered, connections atomic.Int64
	failures := []string{}
	var mutex sync.Mutex
	dialer := net.Dialer{Timeout: 30 * time.Second}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 25,
		TLSClientConfig:     &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connections.Add(1)
			return dialer.DialContext(ctx, network, address)
		},
	}}
	post := func() error {
		answer, err := client.Post(os.Args[1], "application/json", bytes.NewReader(review))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err == nil && (answer.StatusCode != 200 || !bytes.Contains(body, []byte(`"patch"`))) {
			return errors.New(answer.Status + " " + string(body))
		}
		return err
	}
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for time.Now().Before(end) {
		var burst sync.WaitGroup
		for i := 0; i < 40; i++ {
			burst.Add(1)
			go func() {
				defer burst.Done()
				err := post()
				mutex.Lock()
				defer mutex.Unlock()
				if err != nil {
					failures = append(failures, err.Error())
				} else {
					answered.Add(1)
				}
			}()
		}
		burst.Wait()
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"answered": answered.Load(), "connections": connections.Load(), "failures": failures,
	})
}
