-- What wrk asks, by the arguments after the URL:
--   wrk -s load.lua URL -- TARGETS PAUSE [TOKEN]
-- TARGETS other than 1: as many paths in turn. PAUSE other than 0: each connection waits a random
-- time before each request, this many milliseconds at most. TOKEN: the head is docker's, which has
-- this token. One line of figures at the end.

-- wrk keeps one field of a name; docker sends a line for each type.
local accept = table.concat({
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v1+prettyjws",
  "application/json",
  "application/vnd.docker.distribution.manifest.v2+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
  "application/vnd.oci.image.index.v1+json",
}, "\r\nAccept: ")
local agent = "docker/20.10.24+dfsg1 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0-18-amd64 os/linux"
  .. " arch/amd64 UpstreamClient(Docker-Client/20.10.24+dfsg1 \\(linux\\))"

function init(arguments)
  local targets, pause = tonumber(arguments[1]), tonumber(arguments[2])
  if arguments[3] then
    wrk.headers["Accept"] = accept
    wrk.headers["Accept-Encoding"] = "gzip"
    wrk.headers["Authorization"] = "Bearer " .. arguments[3]
    wrk.headers["User-Agent"] = agent
  end
  if targets > 1 then
    local requests, turn = {}, 0
    local namespace = wrk.path:match("^/v2/%a+")
    for number = 1, targets do
      requests[number] = wrk.format("GET", namespace .. "/image-" .. number .. "/manifests/1." .. number)
    end
    function request()
      turn = turn % targets + 1
      return requests[turn]
    end
  end
  if pause > 0 then
    function delay()
      return math.random(0, pause)
    end
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  print(string.format("figures requests=%d seconds=%.6f errors=%d p50=%d p99=%d",
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
