// Receives webhooks with the standard library alone: verifies, drops repeats, prints.
// Run it:  WEBHOOK_SECRET=... go run .     (PORT=9000 unless said otherwise)
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

type event struct {
	Type, Event string
	Data        struct {
		MediaAssetID, FeedID string
		Seq                  uint64
	}
}

// ids handled lately; where a repeat would do harm, a table in your database
var seen = struct {
	sync.Mutex
	ids    map[string]bool
	oldest []string
}{ids: map[string]bool{}}

// genuine checks a Standard Webhooks signature. It covers the bytes as they came, so nothing may parse them first.
func genuine(key []byte, header http.Header, body []byte) bool {
	id, sent := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(sent, 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age.Abs() > 5*time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, sent, body)
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, signature := range strings.Split(header.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(signature), []byte(expected)) {
			return true // there are two while the secret is changed
		}
	}
	return false
}

func main() {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("WEBHOOK_SECRET"), "whsec_"))
	if err != nil || len(key) == 0 {
		log.Fatal("WEBHOOK_SECRET has to hold the webhook's secret")
	}
	http.HandleFunc("/hooks", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		var hook event
		if err != nil || !genuine(key, r.Header, body) || json.Unmarshal(body, &hook) != nil {
			http.Error(w, "not a genuine webhook", http.StatusBadRequest)
			return
		}
		seen.Lock()
		defer seen.Unlock()
		if id := r.Header.Get("webhook-id"); !seen.ids[id] {
			handle(hook)
			seen.ids[id] = true // after the work, so that what failed comes again
			if seen.oldest = append(seen.oldest, id); len(seen.oldest) > 100_000 {
				delete(seen.ids, seen.oldest[0])
				seen.oldest = seen.oldest[1:]
			}
		}
		fmt.Fprintln(w, "OK") // within seconds: long work belongs into a queue
	})
	port := os.Getenv("PORT")
	if port == "" {
		port = "9000"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Receiving webhooks at http://%s/hooks\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}

func handle(hook event) {
	told := []string{hook.Type + "." + hook.Event}
	if subject := hook.Data.MediaAssetID + hook.Data.FeedID; subject != "" {
		told = append(told, subject, strconv.FormatUint(hook.Data.Seq, 10))
	}
	fmt.Println(strings.Join(told, " "))
}
