"""What a batch teaches, in PyTorch, without MXNet: see `openatac.backends.mxnet.objective.Objective`."""
from openatac.backends.base import mixup_share
from openatac.backends.torch.pytorch import torch

F = torch.nn.functional


class TorchObjective:
    """Softmax cross entropy with the label, or with what is made of it. Nothing in it waits for a GPU.

    classes : int; needed for smoothing and mixup
    smoothing : share of a label's weight that is spread over all classes
    mixup : alpha of the beta distribution by which a batch is mixed with itself reversed, 0 for none
    mixup_iterations : int; no batch is mixed from this iteration on
    teacher : torch.nn.Module, or None; its softened answers are learned too. It is put into evaluation
        mode for good
    temperature, hard_weight : of the distillation: its softness, and the share of the labels

    metric : what `measure` gives, 'accuracy', or with mixup 'rmse'

    Logits may have any precision; losses and targets have float32.
    """

    def __init__(self, classes=None, smoothing=0.0, mixup=0.0, mixup_iterations=0, teacher=None,
                 temperature=20.0, hard_weight=0.5):
        self.classes, self.smoothing = classes, smoothing
        self.mixup, self.mixup_iterations = mixup, mixup_iterations
        # A module of `to_torch` comes in training mode, in which the batches would change its statistics.
        self.teacher = None if teacher is None else teacher.eval()
        self.temperature, self.hard_weight = temperature, hard_weight
        self.metric = 'rmse' if mixup else 'accuracy'

    def mixing(self, seed, iteration):
        """The share of each image that stays its own in that iteration, lambda, in [0, 1]."""
        if not self.mixup or iteration >= self.mixup_iterations:
            return 1.0
        return mixup_share(self.mixup, seed, iteration)

    def inputs(self, images, share):
        """lambda x + (1 - lambda) x reversed, for images (B, ...)."""
        return images if share == 1 else share * images + (1 - share) * images.flip(0)

    def targets(self, labels, share):
        """Labels (B,), of any integers, in int64, or their distribution over the classes (B, classes)."""
        if not (self.smoothing or self.mixup):
            return labels.long()
        targets = self._distribution(labels)
        return targets if share == 1 else share * targets + (1 - share) * targets.flip(0)

    def _distribution(self, labels):
        spread = self.smoothing / self.classes
        # Not F.one_hot, which on the CPU reads the labels to check them.
        hits = labels[:, None] == torch.arange(self.classes, device=labels.device)
        return torch.where(hits, 1 - self.smoothing + spread, spread).float()

    def teaching(self, images):
        """The teacher's softened distribution for ``images``, (B, classes), or None without a teacher."""
        if self.teacher is None:
            return None
        with torch.no_grad():  # not inference_mode, whose arrays no backward pass may use
            return torch.softmax(self.teacher(images).float() / self.temperature, 1)

    def loss(self, output, targets, teaching=None):
        """(B,) losses of the logits ``output`` (B, classes).

        With a teacher, Hinton et al., 2015: hard H(targets) + (1 - hard) T^2 H(teaching; output / T), where
        T^2 keeps the size of its gradients when T changes.
        """
        output = output.float()
        hard = F.cross_entropy(output, targets, reduction='none')
        if teaching is None:
            return hard
        soft = F.cross_entropy(output / self.temperature, teaching, reduction='none')
        return self.hard_weight * hard + (1 - self.hard_weight) * self.temperature ** 2 * soft

    def measure(self, output, labels, targets):
        """The batch's sum of `metric`, (), float32: right answers, or distances from the targets."""
        output = output.detach().float()
        if self.metric == 'accuracy':
            return (output.argmax(1) == labels).sum(dtype=torch.float32)
        return (torch.softmax(output, 1) - targets).square().mean().sqrt() * len(labels)
