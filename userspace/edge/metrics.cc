#include "edge/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <vector>

namespace wicket::edge {
namespace {

prometheus::MetricFamily One(const char* name, const char* help, prometheus::MetricType type,
                             double value) {
  prometheus::ClientMetric metric;
  (type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return {.name = name, .help = help, .type = type, .metric = {metric}};
}

}  // namespace

std::string Metrics(const Access& access, const Callers& callers) {
  const absl::Time expires = access.latest()->tls.expires();
  return prometheus::TextSerializer().Serialize(
      {One("wicket_edge_certificate_expires_seconds",
           "when the certificate that is served expires, in Unix time",
           prometheus::MetricType::Gauge, absl::ToDoubleSeconds(expires - absl::UnixEpoch())),
       One("wicket_edge_refused_connections_total",
           "connections beyond the limit of their address or site", prometheus::MetricType::Counter,
           static_cast<double>(callers.refused_connections())),
       One("wicket_edge_wrong_tokens_total", "requests with a token that is none",
           prometheus::MetricType::Counter, static_cast<double>(callers.failures()))});
}

}  // namespace wicket::edge
