//! Cluster DNS: `SERVICE.NAMESPACE.svc.cluster.local` and its like, answered from the store.
//!
//! It listens in the network namespace of a pod, one of those that kube-system's Deployment makes, so that
//! policies see it as on any cluster.

mod names;

use std::io;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::{Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};

use self::names::{Found, find};
use crate::node::network::PodNetwork;
use crate::objects::Store;

/// How long a client may keep an answer, in seconds; CoreDNS's default for Kubernetes.
const TTL: u32 = 5;
/// How long a TCP client may be silent.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers on port 53 of `network`, from now on and for as long as the future that it returns is kept and
/// polled. That ends when it can answer no more.
pub fn serve(store: Store, network: &PodNetwork) -> io::Result<impl Future<Output = ()> + use<>> {
    let address = (network.address(), 53);
    let (udp, tcp) = network.run(|| {
        Ok::<_, io::Error>((
            std::net::UdpSocket::bind(address)?,
            std::net::TcpListener::bind(address)?,
        ))
    })??;
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    let mut server = Server::new(Resolver { store });
    server.register_socket(UdpSocket::from_std(udp)?);
    server.register_listener(TcpListener::from_std(tcp)?, TCP_TIMEOUT, 32);
    Ok(async move {
        if let Err(error) = server.block_until_done().await {
            tracing::error!("the DNS has ended: {error}");
        }
    })
}

/// Answers from the store.
struct Resolver {
    store: Store,
}

#[async_trait::async_trait]
impl RequestHandler for Resolver {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut responder: R,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        metadata.recursion_available = true;
        let mut answers = Vec::new();
        match request.request_info() {
            Ok(info) if request.metadata.op_code == OpCode::Query => {
                let name = Name::from(info.query.name());
                let wanted = info.query.query_type();
                match find(&self.store, &name) {
                    Found::Records(records) if info.query.query_class() == DNSClass::IN => {
                        let is_wanted = |data: &RData| {
                            wanted == RecordType::ANY || data.record_type() == wanted
                        };
                        let record = |data| Record::from_rdata(name.clone(), TTL, data);
                        answers.extend(records.into_iter().filter(is_wanted).map(record));
                    }
                    Found::Records(_) => {}
                    Found::NoSuchName | Found::NotOurs => {
                        metadata.response_code = ResponseCode::NXDomain;
                    }
                }
            }
            Ok(_) => metadata.response_code = ResponseCode::NotImp,
            Err(_) => metadata.response_code = ResponseCode::FormErr,
        }
        let builder = MessageResponseBuilder::from_message_request(request);
        let response = builder.build(metadata, answers.iter(), [], [], []);
        match responder.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!("a DNS answer was not sent: {error}");
                ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
            }
        }
    }
}
