//! Move tasks of SQS are redrives.

use mulgil_admin::catalogue::Code;
use mulgil_admin::model::{Redrive, RedriveState, RedriveTask, Redriven};
use mulgil_admin::queues::{Kind, Which};
use mulgil_sqs::door::{Beginning, MoveRefusal, MoveState, MoveTask, MoveTasks};

use super::LocalBackend;

impl MoveTasks for LocalBackend {
    fn begin<'a>(
        &'a self,
        subscription: &'a str,
        to: Option<&'a str>,
        rate: Option<u32>,
    ) -> Beginning<'a> {
        Box::pin(async move {
            let which = Which {
                kind: Kind::Subscription,
                name: subscription,
            };
            let redrive = Redrive {
                to: to.map(ToOwned::to_owned),
                rate,
                ..Redrive::default()
            };
            match self.redrive_one(which, redrive).await {
                Ok(Redriven::Task(task)) => Ok(task.id),
                Ok(Redriven::Plan(_)) => Err(MoveRefusal::Other("nothing has begun".to_owned())),
                Err(why) if why.code == Code::RedriveRuns => Err(MoveRefusal::Runs(why.detail)),
                Err(why) => Err(MoveRefusal::Other(why.detail)),
            }
        })
    }

    fn cancel(&self, id: u64) -> Option<MoveTask> {
        self.redrives.cancel(id).ok().map(move_task)
    }

    fn list(&self) -> Vec<MoveTask> {
        let all = self.redrives.list().redrives;
        all.into_iter().map(move_task).collect()
    }
}

fn move_task(task: RedriveTask) -> MoveTask {
    MoveTask {
        id: task.id,
        subscription: task.subscription,
        to: task.redrive.to,
        rate: task.redrive.rate,
        state: match task.state {
            RedriveState::Running => MoveState::Running,
            RedriveState::Done => MoveState::Completed,
            RedriveState::Cancelled => MoveState::Cancelled,
            RedriveState::Failed => MoveState::Failed,
        },
        moved: task.moved,
        total: task.total,
        started_ms: u64::try_from(task.started.0).unwrap_or(0),
        error: task.error,
    }
}
