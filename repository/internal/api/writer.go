package api

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/countersign-ota/countersign/proto/chunk"
)

// slowWriter gives a receiver stallTimeout for each piece of an answer, so that a large image may take
// as long as it needs and a receiver who takes nothing is cut.
type slowWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	wrote   bool
}

func (w *slowWriter) WriteHeader(code int) {
	w.wrote = true
	_ = w.control.SetWriteDeadline(time.Now().Add(stallTimeout))
	w.ResponseWriter.WriteHeader(code)
}

func (w *slowWriter) Write(p []byte) (int, error) {
	w.wrote = true
	if err := w.control.SetWriteDeadline(time.Now().Add(stallTimeout)); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find what it needs.
func (w *slowWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ReadFrom copies in pieces of a chunk's size; io.Copy would take 32 KiB.
func (w *slowWriter) ReadFrom(r io.Reader) (int64, error) {
	buf, _ := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(onlyWriter{w}, r, *buf)
}

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, chunk.Size); return &b }}

// onlyWriter hides ReadFrom from io.CopyBuffer.
type onlyWriter struct{ io.Writer }

func etag(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// errorLog takes what net/http has to say: handshakes that failed and the like, made by strangers.
func (a *API) errorLog() *log.Logger {
	return slog.NewLogLogger(a.Log.Handler(), slog.LevelDebug)
}
