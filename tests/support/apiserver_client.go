// Posts reviews like kube-apiserver: HTTP/1.1, 25 idle connections, no TLS session resumption.
// Prints the results as JSON. Each request is sent once; any error is a failure.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	url := flag.String("url", "", "")
	ca := flag.String("ca", "", "a file of the server's CA")
	file := flag.String("review", "", "a file with what to post")
	burst := flag.Int("burst", 40, "requests at a time, and then as many again")
	keep := flag.Int("keep", 25, "idle connections")
	every := flag.Duration("every", 0, "time from the start of a burst to the next, at least")
	length := flag.Duration("for", 10*time.Second, "at least")
	least := flag.Int("least", 0, "requests, even if they take longer")
	flag.Parse()

	pem, _ := os.ReadFile(*ca)
	review, _ := os.ReadFile(*file)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	var connections atomic.Int64
	dialer := net.Dialer{Timeout: 30 * time.Second}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: *keep,
		DisableKeepAlives:   *keep == 0,
		TLSClientConfig:     &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connections.Add(1)
			return dialer.DialContext(ctx, network, address)
		},
	}}
	post := func() error {
		answer, err := client.Post(*url, "application/json", bytes.NewReader(review))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != 200 {
			return errors.New(answer.Status + " " + string(body))
		}
		return err
	}

	var mutex sync.Mutex
	failures, times := []string{}, []float64{}
	began := time.Now()
	for time.Since(began) < *length || len(times)+len(failures) < *least {
		next := time.After(*every)
		var all sync.WaitGroup
		for i := 0; i < *burst; i++ {
			all.Add(1)
			go func() {
				defer all.Done()
				sent := time.Now()
				err := post()
				mutex.Lock()
				defer mutex.Unlock()
				if err != nil {
					failures = append(failures, err.Error())
				} else {
					times = append(times, time.Since(sent).Seconds())
				}
			}()
		}
		all.Wait()
		<-next
	}
	seconds := time.Since(began).Seconds()
	sort.Float64s(times)
	at := func(share float64) float64 {
		if len(times) == 0 {
			return 0
		}
		return times[int(float64(len(times))*share)]
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"answered": len(times), "connections": connections.Load(), "failures": failures,
		"seconds": seconds, "p50": at(0.5), "p99": at(0.99),
	})
}
