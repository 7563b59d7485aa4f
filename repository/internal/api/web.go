package api

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "github.com/countersign-ota/countersign/proto/countersign/v1"
	"github.com/countersign-ota/countersign/proto/metadata"
	"github.com/countersign-ota/countersign/proto/reason"
	"github.com/countersign-ota/countersign/proto/reason/status"
)

// The HTTPS side:
//
//	GET  /N.root.json  /N.snapshot.json  /N.targets.json  /N.gw-100.json …   a version, for ever the same
//	GET  /timestamp.json                                                     the newest
//	GET  /approvals/N.ROLE.jsonl                                             who approved that version, for ever the same
//	GET  /targets/PRODUCT/VERSION/SHA256.FILE                                images and evidence, with ranges
//	POST /countersign.v1.Device/METHOD                                       as over gRPC, application/x-protobuf

const protobufType = "application/x-protobuf"

func (a *API) newWeb() *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(a.serveHTTP),
		ReadHeaderTimeout: handshakeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: strangerStreams, PingTimeout: keepaliveParams.Timeout, SendPingTimeout: keepaliveParams.Time},
		ErrorLog:          a.errorLog(),
	}
}

// serveHTTP answers one request. The method in the permission table is that of gRPC.
func (a *API) serveHTTP(w http.ResponseWriter, r *http.Request) {
	out := &slowWriter{ResponseWriter: w, control: http.NewResponseController(w)}
	method, next := a.route(r)
	err := a.do(r.Context(), method, r.TLS.PeerCertificates, func(id string) { w.Header().Set(requestIDHeader, id) },
		func(ctx context.Context) error { return next(ctx, out, r) })
	if err != nil && !out.wrote {
		writeError(out, err)
	}
}

type webHandler func(ctx context.Context, w http.ResponseWriter, r *http.Request) error

// route returns the handler of a request and the gRPC method whose permission it needs.
func (a *API) route(r *http.Request) (method string, h webHandler) {
	if r.Method == http.MethodPost {
		if r.URL.Path == pb.Device_Enroll_FullMethodName {
			return r.URL.Path, a.postEnroll
		}
		return pb.Repository_GetMetadata_FullMethodName, notHere
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return pb.Repository_GetMetadata_FullMethodName, func(_ context.Context, w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Allow", "GET, HEAD, POST")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return nil
		}
	}
	if strings.HasPrefix(r.URL.Path, "/targets/") {
		return pb.Repository_Download_FullMethodName, a.getTarget
	}
	if strings.HasPrefix(r.URL.Path, approvalsPath) {
		return pb.Repository_GetMetadata_FullMethodName, a.getApprovals // as public as what they approve
	}
	return pb.Repository_GetMetadata_FullMethodName, a.getMetadata
}

func notHere(_ context.Context, _ http.ResponseWriter, r *http.Request) error {
	return reason.Errorf(reason.NotFound, "%q is not here", r.URL.Path)
}

// getMetadata serves a role file.
func (a *API) getMetadata(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	role, version, ok := metadataPath(r.URL.Path)
	if !ok {
		return notHere(ctx, w, r)
	}
	f, err := a.Publisher.RoleFile(ctx, metadata.Image, role, version, false)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	serve(w, r, f.Data, version != 0)
	return nil
}

// approvalsPath begins the path of approvals.
const approvalsPath = "/approvals/"

// getApprovals serves the approvals of the event that published a role file.
func (a *API) getApprovals(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, approvalsPath), ".jsonl")
	role, version, versioned := versionedName(name)
	if !ok || !versioned {
		return notHere(ctx, w, r)
	}
	data, err := a.Publisher.Approvals(ctx, role, version)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jsonl")
	serve(w, r, data, true)
	return nil
}

// metadataPath splits /N.ROLE.json; version 0 stands for /timestamp.json.
func metadataPath(path string) (role string, version int64, ok bool) {
	name, ok := strings.CutSuffix(strings.TrimPrefix(path, "/"), ".json")
	if !ok {
		return "", 0, false
	}
	if name == metadata.Timestamp {
		return name, 0, true
	}
	return versionedName(name)
}

// versionedName splits N.ROLE.
func versionedName(name string) (role string, version int64, ok bool) {
	number, role, ok := strings.Cut(name, ".")
	version, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || version < 1 || strconv.FormatInt(version, 10) != number {
		return "", 0, false
	}
	if _, _, err := metadata.SplitRole(role); err != nil {
		return "", 0, false
	}
	return role, version, true
}

// getTarget serves an image or evidence.
func (a *API) getTarget(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	path, sum, ok := targetPath(r.URL.Path)
	if !ok {
		return notHere(ctx, w, r)
	}
	f, err := a.Publisher.Open(path, sum)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	w.Header().Set("Content-Type", "application/octet-stream")
	h := w.Header()
	h.Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	h.Set("Cache-Control", a.imageCaching())
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

// imageCaching keeps images that need a certificate out of shared caches.
func (a *API) imageCaching() string {
	if a.PublicImages {
		return "public, max-age=31536000, immutable"
	}
	return "private, max-age=31536000, immutable"
}

// targetPath splits /targets/PRODUCT/VERSION/SHA256.FILE.
func targetPath(path string) (target string, sum [32]byte, ok bool) {
	rest, _ := strings.CutPrefix(path, "/targets/")
	i := strings.LastIndexByte(rest, '/')
	digits, file, ok := strings.Cut(rest[i+1:], ".")
	b, err := hex.DecodeString(digits)
	if !ok || i < 0 || err != nil || len(b) != 32 || hex.EncodeToString(b) != digits {
		return "", sum, false
	}
	target = rest[:i+1] + file
	if _, err := metadata.ParseTargetPath(target); err != nil {
		return "", sum, false
	}
	return target, [32]byte(b), true
}

// serve answers with bytes that are in memory. A versioned file never changes.
func serve(w http.ResponseWriter, r *http.Request, data []byte, forever bool) {
	h := w.Header()
	h.Set("ETag", `"`+etag(data)+`"`)
	if forever {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
}

// postEnroll is Device.Enroll over HTTPS.
func (a *API) postEnroll(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	// Only here is a body read; a deadline for all requests would end long downloads as well.
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if t := r.Header.Get("Content-Type"); t != protobufType {
		return reason.Errorf(reason.Malformed, "content type %q, want %s", t, protobufType)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEnroll))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return reason.Errorf(reason.TooLarge, "the request has more than %d bytes", maxEnroll)
		}
		return reason.Errorf(reason.Malformed, "the request cannot be read: %v", err)
	}
	var q pb.EnrollRequest
	if err := proto.Unmarshal(body, &q); err != nil {
		return reason.Errorf(reason.Malformed, "the request is not an EnrollRequest: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := (&deviceService{a: a}).Enroll(ctx, &q)
	if err != nil {
		return err
	}
	data, err := proto.Marshal(answer)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", protobufType)
	w.Header().Set("Cache-Control", "no-store")
	_, err = w.Write(data)
	return err
}

// writeError answers with the status as google.rpc.Status in protobuf, so that reason and hint arrive
// as over gRPC.
func writeError(w http.ResponseWriter, err error) {
	s := status.ToStatus(err)
	h := w.Header()
	h.Del("ETag")
	h.Set("Cache-Control", "no-store")
	data, merr := proto.Marshal(s.Proto())
	if merr != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", protobufType)
	w.WriteHeader(httpCode(s.Code(), err))
	_, _ = w.Write(data)
}

func httpCode(c codes.Code, err error) int {
	switch c {
	case codes.NotFound:
		return http.StatusNotFound
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.Unavailable, codes.Aborted, codes.ResourceExhausted:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case codes.Internal, codes.Unknown:
		return http.StatusInternalServerError
	}
	if reason.Is(err, reason.TooLarge) {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}
