// Beside the snippet: judges JSON lines.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	lines := json.NewDecoder(os.Stdin)
	for {
		var c struct {
			Secret  string
			Headers map[string]string
			Body    []byte
		}
		if err := lines.Decode(&c); err == io.EOF {
			return
		} else if err != nil {
			panic(err)
		}
		header := http.Header{}
		for name, value := range c.Headers {
			header.Set(name, value)
		}
		if isGenuine(c.Secret, header, c.Body) {
			fmt.Println("genuine")
		} else {
			fmt.Println("refused")
		}
	}
}
