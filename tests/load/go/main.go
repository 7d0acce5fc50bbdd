// A plain Go client: round robin over the addresses given, no retry policy, one call after the other at a steady pace.
//
// It calls METHOD with the message in FILE until its standard input ends, and prints how many calls ended with which code
// as JSON. A line says that the first call was answered.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
)

// raw sends and receives bytes as they are.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

func main() {
	addresses := flag.String("addresses", "", "HOST:PORT, separated by commas")
	method := flag.String("method", "", "full name of the method")
	file := flag.String("message", "", "file that holds the request message")
	token := flag.String("token", "", "bearer token")
	pace := flag.Duration("pace", 5*time.Millisecond, "time between calls")
	flag.Parse()
	message, err := os.ReadFile(*file)
	if err != nil {
		panic(err)
	}
	backends := manual.NewBuilderWithScheme("replicas")
	state := resolver.State{}
	for _, address := range strings.Split(*addresses, ",") {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	backends.InitialState(state)
	connection, err := grpc.NewClient("replicas:///",
		grpc.WithResolvers(backends),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	if err != nil {
		panic(err)
	}
	background := metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+*token)
	call := func(options ...grpc.CallOption) error {
		limited, cancel := context.WithTimeout(background, 10*time.Second)
		defer cancel()
		var answer []byte
		return connection.Invoke(limited, *method, &message, &answer, options...)
	}
	if err := call(grpc.WaitForReady(true)); err != nil {
		panic(err)
	}
	fmt.Println("on")

	ended := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); close(ended) }()
	var lock sync.Mutex
	var calls sync.WaitGroup
	counts, texts := map[string]int{}, map[string]int{}
	ticks := time.NewTicker(*pace)
	for running := true; running; {
		select {
		case <-ended:
			running = false
		case <-ticks.C:
			calls.Add(1)
			go func() {
				defer calls.Done()
				err := call()
				lock.Lock()
				defer lock.Unlock()
				counts[status.Code(err).String()]++
				if err != nil {
					texts[err.Error()]++
				}
			}()
		}
	}
	calls.Wait()
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"counts": counts, "texts": texts})
}
