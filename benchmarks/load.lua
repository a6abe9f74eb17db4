-- What wrk asks, by the arguments after the URL:
--   wrk -s load.lua URL -- TARGETS PAUSE
-- TARGETS other than 1: as many paths in turn. PAUSE other than 0: each connection waits a random
-- time before each request, this many milliseconds at most. One line of figures at the end.

function init(arguments)
  local targets, pause = tonumber(arguments[1]), tonumber(arguments[2])
  if targets > 1 then
    local requests, turn = {}, 0
    for number = 1, targets do
      requests[number] = wrk.format("GET", "/v2/library/image-" .. number .. "/manifests/1." .. number)
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
